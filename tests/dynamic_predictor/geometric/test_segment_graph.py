"""Propagation of motion along the flow."""

import numpy as np

from dynamic_predictor.geometric.segment_graph import FrameSegments, SegmentGraph


def test_late_motion_is_propagated_to_all_earlier_frames():
    labels = np.zeros((12, 16), int)
    labels[3:9, 4:12] = 1
    still = np.zeros((12, 16, 2), np.float32)
    graph = SegmentGraph()
    for _ in range(60):
        color = np.array([[0.2, 0.0, 0.0], [0.8, 0.0, 0.0]])
        nothing = np.zeros(2)
        graph.add_frame(
            FrameSegments(
                labels,
                np.bincount(labels.ravel()),
                color,
                np.zeros((2, 2)),
                np.zeros((2, 2)),
                nothing,
                nothing,
                nothing,
            )
        )
    for position in range(59):
        graph.link_overlaps(position, position + 1, still, np.ones((12, 16), bool), 0.05, 4.0)
    moves = np.zeros(120)
    moves[119] = 1.0
    first = graph.per_frame(graph.propagated(moves))[0]
    assert first[1] > 0.95 and first[0] == 0.0

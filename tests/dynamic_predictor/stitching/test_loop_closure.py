"""Loop candidates and loop windows against the official streaming code."""

import numpy as np

from dynamic_predictor.stitching.chunk_windows import chunk_windows
from dynamic_predictor.stitching.loop_closure import LoopCandidate, find_loops, loop_windows


def test_loop_windows_are_the_official_ones(listed):
    case = listed["process_loop_list"]
    loops = [LoopCandidate(a, b, 1.0) for a, b in case["loops"] if b < 300]
    found = loop_windows(chunk_windows(300, 120, 60), loops)
    assert [
        [window.later_chunk, list(window.later_frames), window.earlier_chunk, list(window.earlier_frames)]
        for window in found
    ] == case["dedup"]


def test_loop_candidates_are_the_official_ones(golden):
    descriptors = golden["loop/descriptors"]
    found = find_loops(descriptors)
    assert [(loop.later, loop.earlier) for loop in found] == [tuple(row[:2]) for row in golden["loop/closures_nms1"]]
    np.testing.assert_allclose([loop.similarity for loop in found], golden["loop/closures_nms1"][:, 2], atol=1e-6)
    everything = {(loop.later, loop.earlier) for loop in find_loops(descriptors, suppression=0)}
    assert everything == {tuple(row[:2].astype(int)) for row in golden["loop/closures_nms0"]}


def test_loops_are_found_blockwise_as_all_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    descriptors = rng.normal(0, 1, (300, 8)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    whole = find_loops(descriptors, threshold=0.5)
    monkeypatch.setattr("dynamic_predictor.stitching.loop_closure._BLOCK", 37)
    assert [(x.later, x.earlier) for x in find_loops(descriptors, threshold=0.5)] == [
        (x.later, x.earlier) for x in whole
    ]

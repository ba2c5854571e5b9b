"""Pose graphs against the official streaming code, finite differences and exact synthetic loops."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dynamic_predictor.stitching.pose_graph import (
    PoseGraphEdge,
    _Graph,
    accumulate,
    close_loops,
    similarity_exponential,
    similarity_logarithm,
)
from scene.similarity import Similarity
from tests.dynamic_predictor.stitching.golden_streaming import assert_same, random_similarity, unpacked


def _assert_nodes(nodes: list[Similarity], rows: np.ndarray, tolerance: float) -> None:
    """Rows are translation, quaternion xyzw and scale."""
    for node, row in zip(nodes, rows, strict=True):
        np.testing.assert_allclose(node.translation, row[:3], atol=tolerance)
        np.testing.assert_allclose(node.rotation, Rotation.from_quat(row[3:7]).as_matrix(), atol=tolerance)
        assert abs(node.scale - row[7]) < tolerance


def _cost(graph: _Graph, nodes: list[Similarity]) -> float:
    return float(np.mean(graph.errors(np.stack([node.matrix for node in nodes])) ** 2))


def test_similarities_compose_like_the_official_ones(golden):
    steps = [unpacked(row) for row in golden["compose/in"]]
    for node, row in zip(accumulate(steps)[1:], golden["compose/accumulated"], strict=True):
        assert_same(node, row)
    assert_same(steps[1] @ steps[0].inverse(), golden["compose/ab"])
    np.testing.assert_allclose((steps[0] @ steps[0].inverse()).matrix, np.eye(4), atol=1e-12)
    again = Similarity.from_matrix(steps[2].matrix)
    assert again.scale == pytest.approx(steps[2].scale)


def test_a_chain_of_steps_equals_the_initial_official_graph(golden):
    nodes = accumulate([unpacked(row) for row in golden["pgo/seq_in"]])
    _assert_nodes(nodes, golden["pgo/abs_before"], 1e-5)


def test_sim3_logarithm_and_exponential_are_inverse():
    rng = np.random.default_rng(3)
    coordinates = np.concatenate([rng.normal(0, 2, (50, 3)), rng.normal(0, 0.8, (50, 3)), rng.normal(0, 1, (50, 1))], 1)
    coordinates[0] = 0.0
    np.testing.assert_allclose(similarity_logarithm(similarity_exponential(coordinates)), coordinates, atol=1e-10)


def test_the_derivatives_are_those_of_finite_differences():
    rng = np.random.default_rng(4)
    nodes = np.stack([random_similarity(rng).matrix for _ in range(3)])
    graph = _Graph(3, [PoseGraphEdge(0, 2, random_similarity(rng)), PoseGraphEdge(2, 1, random_similarity(rng))])
    by_a, by_b = graph.derivatives(nodes, graph.errors(nodes))
    step = 1e-6
    for ends, derivative in ((graph.a, by_a), (graph.b, by_b)):
        for edge, node in enumerate(ends):
            for axis in range(7):
                errors = []
                for sign in (1, -1):
                    moved = nodes.copy()
                    moved[node] = nodes[node] @ similarity_exponential(sign * step * np.eye(7)[axis : axis + 1])[0]
                    errors.append(graph.errors(moved)[edge])
                numeric = (errors[0] - errors[1]) / (2 * step)
                np.testing.assert_allclose(derivative[edge, :, axis], numeric, atol=1e-6)


def test_the_optimized_graph_is_the_official_one(golden):
    steps = [unpacked(row) for row in golden["pgo/seq_in"]]
    first, second = (
        PoseGraphEdge(int(row[0]), int(row[1]), unpacked(row[2:])) for row in (golden["pgo/loop"], golden["pgo/loop2"])
    )
    graph = _Graph(13, [*[PoseGraphEdge(k + 1, k, step) for k, step in enumerate(steps)], first])
    begin = np.stack([node.matrix for node in accumulate(steps)])
    # the official graph has single precision, and its nodes are the inverses of ours
    np.testing.assert_allclose(graph.errors(begin), golden["pgo/residual0"], atol=2e-5)
    np.testing.assert_allclose(similarity_logarithm(np.linalg.inv(begin)), golden["pgo/Ginv0"], atol=2e-5)

    result = close_loops(steps, [first])
    _assert_nodes(result.world_from_chunk, golden["pgo/abs_after"], 3e-5)
    found = [a.inverse() @ b for a, b in zip(result.world_from_chunk, result.world_from_chunk[1:], strict=False)]
    for step, row in zip(found, golden["pgo/seq_out"], strict=True):
        assert_same(step, row, 1e-4)
    assert _cost(graph, result.world_from_chunk) < _cost(graph, accumulate(steps))

    # with two contradicting loops the official solver stops after 30 iterations, before it reaches the minimum
    result = close_loops(steps, [first, second])
    graph = _Graph(13, [*[PoseGraphEdge(k + 1, k, step) for k, step in enumerate(steps)], first, second])
    official = accumulate([unpacked(row) for row in golden["pgo/seq_out2"]])
    official_cost = _cost(graph, official)
    assert 0.99 * official_cost < _cost(graph, result.world_from_chunk) <= official_cost


def _circle(count: int) -> list[Similarity]:
    angle = 2 * np.pi / count
    return [Similarity(1.0, Rotation.from_rotvec([0, angle, 0]).as_matrix(), np.array([1.0, 0.0, 0.2]))] * count


def test_a_drifting_circle_closes():
    rng = np.random.default_rng(5)
    true_steps = _circle(30)
    truth = accumulate(true_steps)
    drifting = [
        Similarity(
            step.scale * np.exp(rng.normal(0.01, 0.005)),
            step.rotation @ Rotation.from_rotvec(rng.normal(0, 0.01, 3)).as_matrix(),
            step.translation + rng.normal(0, 0.02, 3),
        )
        for step in true_steps
    ]
    before = accumulate(drifting)
    loop = PoseGraphEdge(30, 0, truth[30])
    result = close_loops(drifting, [loop])

    def error(nodes):
        return np.sqrt(
            np.mean([np.sum((a.translation - b.translation) ** 2) for a, b in zip(nodes, truth, strict=True)])
        )

    assert error(result.world_from_chunk) < 0.25 * error(before)
    assert abs(np.log(result.world_from_chunk[30].scale)) < 0.02 < abs(np.log(before[30].scale))


def test_exact_chains_with_exact_loops_do_not_change():
    steps = _circle(12)
    result = close_loops(steps, [PoseGraphEdge(12, 0, accumulate(steps)[12])])
    for node, expected in zip(result.world_from_chunk, accumulate(steps), strict=True):
        np.testing.assert_allclose(node.matrix, expected.matrix, atol=1e-9)


def test_a_wrong_loop_loses_its_weight():
    rng = np.random.default_rng(6)
    steps = _circle(24)
    truth = accumulate(steps)
    drifting = [Similarity(s.scale * 1.003, s.rotation, s.translation + rng.normal(0, 0.004, 3)) for s in steps]
    good = [PoseGraphEdge(a, b, truth[b].inverse() @ truth[a]) for a, b in ((24, 0), (23, 1), (21, 2), (18, 3))]
    wrong = PoseGraphEdge(15, 5, random_similarity(rng))
    result = close_loops(drifting, [*good, wrong], robust=True)
    assert result.loop_weights[-1] < 0.01 and result.loop_weights[:-1].min() > 0.5
    centers = np.stack([node.translation for node in result.world_from_chunk])
    expected = np.stack([node.translation for node in truth])
    before = np.stack([node.translation for node in accumulate(drifting)])
    assert np.abs(centers - expected).max() < 0.5 * np.abs(before - expected).max()

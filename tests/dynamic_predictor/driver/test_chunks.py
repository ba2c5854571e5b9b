"""Chunk windows, robust similarities, loop candidates and pose graphs against the goldens of the official streaming
code (tests/data/da3) and against exact synthetic cases."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynamic_predictor.driver.chunks import (
    align_chunks,
    chunk_of_frame,
    chunk_windows,
    confidence_limit,
    frames_around,
    huber_loss,
    robust_similarity,
    weighted_similarity,
)
from dynamic_predictor.driver.loop_closure import (
    GradientDescriptor,
    LoopCandidate,
    find_loops,
    loop_windows,
)
from dynamic_predictor.driver.pose_graph import (
    PoseGraphEdge,
    _Graph,
    accumulate,
    close_loops,
    similarity_exponential,
    similarity_logarithm,
)
from dynamic_predictor.place_recognition.salad import (
    SaladDescriptor,
    SaladNetwork,
    TransportAggregator,
    transport_shares,
)
from scene.camera import Camera
from scene.errors import InputError
from scene.point_cloud import unproject_pixels
from scene.similarity import Similarity
from tests.paths import DATA

_DATA = DATA / "da3"


@pytest.fixture(scope="module")
def golden():
    return np.load(_DATA / "maths_streaming.npz")


@pytest.fixture(scope="module")
def listed():
    return json.loads((_DATA / "maths_streaming.json").read_text())


def _unpacked(row: np.ndarray) -> Similarity:
    return Similarity(float(row[0]), row[1:10].reshape(3, 3), row[10:13])


def _assert_same(similarity: Similarity, row: np.ndarray, tolerance: float = 1e-6) -> None:
    packed = np.concatenate([[similarity.scale], similarity.rotation.ravel(), similarity.translation])
    np.testing.assert_allclose(packed, row, atol=tolerance)


def _assert_nodes(nodes: list[Similarity], rows: np.ndarray, tolerance: float) -> None:
    """Rows are translation, quaternion xyzw and scale."""
    for node, row in zip(nodes, rows, strict=True):
        np.testing.assert_allclose(node.translation, row[:3], atol=tolerance)
        np.testing.assert_allclose(node.rotation, Rotation.from_quat(row[3:7]).as_matrix(), atol=tolerance)
        assert abs(node.scale - row[7]) < tolerance


def _random_similarity(rng: np.random.Generator, spread: float = 0.1) -> Similarity:
    return Similarity(
        float(np.exp(rng.normal(0, spread))), Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix(), rng.normal(0, 2, 3)
    )


def test_windows_are_the_official_ones(listed):
    for key, expected in listed["chunks (n_images_chunk_overlap)"].items():
        count, size, overlap = (int(part) for part in key.split("_"))
        assert [list(window) for window in chunk_windows(count, size, overlap)] == expected
    windows = chunk_windows(300, 120, 60)
    for frame, chunk in listed["find_chunk_index(300_120_60)"].items():
        assert chunk_of_frame(windows, int(frame)) == chunk
    for case in listed["get_frame_range"]:
        assert list(frames_around(tuple(case["chunk"]), case["idx"], case["half"])) == case["out"]


@pytest.mark.parametrize(("size", "overlap"), [(1, 1), (10, 10), (10, 0), (10, -1)])
def test_impossible_windows_are_refused(size, overlap):
    with pytest.raises(InputError):
        chunk_windows(100, size, overlap)


def test_every_frame_is_in_a_window_and_neighbours_overlap():
    for count in range(1, 80):
        windows = chunk_windows(count, 12, 5)
        assert windows[0][0] == 0 and windows[-1][1] == count
        assert all(first[1] - second[0] == 5 for first, second in zip(windows, windows[1:], strict=False))
        assert all(
            window[0] <= frame < window[1]
            for frame in range(count)
            for window in [windows[chunk_of_frame(windows, frame)]]
        )


def test_loop_windows_are_the_official_ones(listed):
    case = listed["process_loop_list"]
    loops = [LoopCandidate(a, b, 1.0) for a, b in case["loops"] if b < 300]
    found = loop_windows(chunk_windows(300, 120, 60), loops)
    assert [
        [window.later_chunk, list(window.later_frames), window.earlier_chunk, list(window.earlier_frames)]
        for window in found
    ] == case["dedup"]


def test_similarities_are_the_official_ones(golden):
    source, target, weights = golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"]
    _assert_same(weighted_similarity(source, target, np.ones(len(source))), golden["sim3/unweighted"])
    _assert_same(weighted_similarity(source, target, weights), golden["sim3/weighted_sim3"])
    _assert_same(weighted_similarity(source, target, weights, with_scale=False), golden["sim3/weighted_se3"])
    for method in ("sim3", "se3"):
        for iterations in (1, 5, 20):
            estimate = robust_similarity(
                source,
                target,
                weights,
                with_scale=method == "sim3",
                delta=0.1,
                iterations=iterations,
                strict_official=True,
            )
            _assert_same(estimate, golden[f"sim3/robust_numpy_{method}_{iterations}"])
    np.testing.assert_allclose(huber_loss(golden["huber/r"], 0.1), golden["huber/out"], atol=1e-12)


def _strictly(golden, with_scale: bool, iterations: int, initial: Similarity | None = None) -> Similarity:
    return robust_similarity(
        golden["sim3/src"],
        golden["sim3/tgt"],
        golden["sim3/w"],
        with_scale=with_scale,
        delta=0.1,
        iterations=iterations,
        initial=initial,
        strict_official=True,
    )


@pytest.mark.parametrize("iterations", [1, 5, 20])
def test_compiled_official_similarities_are_the_same(golden, iterations):
    """The official code has the rounds a second time, compiled, in single precision. Of "scale+se3" it makes rigid
    rounds there, which is what ours does by default."""
    for method, with_scale in (("sim3", True), ("se3", False), ("scale+se3", False)):
        row = golden[f"sim3/robust_numba_{method}_{iterations}"]
        _assert_same(_strictly(golden, with_scale, iterations), row, 5e-6)


@pytest.mark.parametrize("iterations", [1, 5, 20])
def test_uncompiled_official_rounds_of_a_known_scale_begin_rigidly_and_change_it(golden, iterations):
    rigid = weighted_similarity(golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"], with_scale=False)
    row = golden[f"sim3/robust_numpy_scale+se3_{iterations}"]
    _assert_same(_strictly(golden, True, iterations, rigid), row)
    assert row[0] > 1.3


def test_the_least_confidence_is_the_official_one(golden):
    limit = confidence_limit(golden["align/c1"], golden["align/c2"])
    assert limit == pytest.approx(float(golden["align/conf_threshold"]), rel=1e-6)


def test_outliers_move_the_robust_similarity_little(golden):
    source, target, weights = golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"]
    truth = _unpacked(golden["sim3/true"])

    def error(similarity):
        return np.linalg.norm(similarity.apply_to_points(source) - truth.apply_to_points(source), axis=1).mean()

    assert error(robust_similarity(source, target, weights)) < 0.2 * error(weighted_similarity(source, target, weights))


def test_the_robust_similarity_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    source = rng.normal(0, 1, (400, 3))
    truth = _random_similarity(rng)
    target = truth.apply_to_points(source) + rng.normal(0, 0.01, (400, 3))
    target[:60] += rng.normal(0, 3, (60, 3))
    small = robust_similarity(source, target, np.ones(400))
    large = robust_similarity(source, 1000 * target, np.ones(400))
    assert large.scale == pytest.approx(1000 * small.scale, rel=1e-9)
    np.testing.assert_allclose(large.translation, 1000 * small.translation, rtol=1e-9)


def test_chunk_alignment_is_the_official_one(golden):
    maps = [golden[f"align/{name}"] for name in ("p1", "c1", "dep1", "p2", "c2", "dep2")]
    for method in ("sim3", "se3", "scale+se3"):
        aligned = align_chunks(*maps, method=method, delta=0.1, strict_official=True)
        _assert_same(aligned.similarity, golden[f"align/result_{method}"], 2e-6)


def test_similarities_compose_like_the_official_ones(golden):
    steps = [_unpacked(row) for row in golden["compose/in"]]
    for node, row in zip(accumulate(steps)[1:], golden["compose/accumulated"], strict=True):
        _assert_same(node, row)
    _assert_same(steps[1] @ steps[0].inverse(), golden["compose/ab"])
    np.testing.assert_allclose((steps[0] @ steps[0].inverse()).matrix, np.eye(4), atol=1e-12)
    again = Similarity.from_matrix(steps[2].matrix)
    assert again.scale == pytest.approx(steps[2].scale)


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
    monkeypatch.setattr("dynamic_predictor.driver.loop_closure._BLOCK", 37)
    assert [(x.later, x.earlier) for x in find_loops(descriptors, threshold=0.5)] == [
        (x.later, x.earlier) for x in whole
    ]


def test_the_descriptor_without_weights_knows_a_place_again():
    rng = np.random.default_rng(2)
    places = [
        cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
        for _ in range(6)
    ]
    shift = np.float32([[1.03, 0, 4], [0, 1.03, -3]])
    again = [
        cv2.convertScaleAbs(cv2.warpAffine(p, shift, (320, 180), borderMode=cv2.BORDER_REFLECT), alpha=0.7, beta=20)
        for p in places
    ]
    descriptor = GradientDescriptor()
    first, second = descriptor.describe(places), descriptor.describe(again)
    assert first.shape == (6, descriptor.size)
    similar = first @ second.T
    others = similar[~np.eye(6, dtype=bool)]
    assert np.diag(similar).min() > descriptor.threshold > others.max()


def test_sim3_logarithm_and_exponential_undo_each_other():
    rng = np.random.default_rng(3)
    coordinates = np.concatenate([rng.normal(0, 2, (50, 3)), rng.normal(0, 0.8, (50, 3)), rng.normal(0, 1, (50, 1))], 1)
    coordinates[0] = 0.0
    np.testing.assert_allclose(similarity_logarithm(similarity_exponential(coordinates)), coordinates, atol=1e-10)


def test_the_derivatives_are_those_of_finite_differences():
    rng = np.random.default_rng(4)
    nodes = np.stack([_random_similarity(rng).matrix for _ in range(3)])
    graph = _Graph(3, [PoseGraphEdge(0, 2, _random_similarity(rng)), PoseGraphEdge(2, 1, _random_similarity(rng))])
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


def test_the_pose_graph_ends_where_the_official_one_does(golden):
    steps = [_unpacked(row) for row in golden["pgo/seq_in"]]
    first, second = (
        PoseGraphEdge(int(row[0]), int(row[1]), _unpacked(row[2:])) for row in (golden["pgo/loop"], golden["pgo/loop2"])
    )
    graph = _Graph(13, [*[PoseGraphEdge(k + 1, k, step) for k, step in enumerate(steps)], first])
    begin = np.stack([node.matrix for node in accumulate(steps)])
    # the official graph works in single precision, and on the inverses of our nodes
    np.testing.assert_allclose(graph.errors(begin), golden["pgo/residual0"], atol=2e-5)
    np.testing.assert_allclose(similarity_logarithm(np.linalg.inv(begin)), golden["pgo/Ginv0"], atol=2e-5)

    result = close_loops(steps, [first])
    _assert_nodes(result.world_from_chunk, golden["pgo/abs_after"], 3e-5)
    found = [a.inverse() @ b for a, b in zip(result.world_from_chunk, result.world_from_chunk[1:], strict=False)]
    for step, row in zip(found, golden["pgo/seq_out"], strict=True):
        _assert_same(step, row, 1e-4)
    assert result.cost < result.initial_cost

    # Two loops that contradict each other: the official solver stops after 30 rounds short of the least cost.
    result = close_loops(steps, [first, second])
    graph = _Graph(13, [*[PoseGraphEdge(k + 1, k, step) for k, step in enumerate(steps)], first, second])
    official = accumulate([_unpacked(row) for row in golden["pgo/seq_out2"]])
    official_cost = np.mean(graph.errors(np.stack([node.matrix for node in official])) ** 2)
    assert 0.99 * official_cost < result.cost <= official_cost


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


def test_exact_chains_with_exact_loops_stay_as_they_are():
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
    wrong = PoseGraphEdge(15, 5, _random_similarity(rng))
    result = close_loops(drifting, [*good, wrong], robust=True)
    assert result.loop_weights[-1] < 0.01 and result.loop_weights[:-1].min() > 0.5
    centers = np.stack([node.translation for node in result.world_from_chunk])
    expected = np.stack([node.translation for node in truth])
    before = np.stack([node.translation for node in accumulate(drifting)])
    assert np.abs(centers - expected).max() < 0.5 * np.abs(before - expected).max()


def test_the_salad_head_is_the_official_one():
    """Outputs of the official head with made-up weights: key by key in order of names, normal times 0.2."""
    golden = np.load(_DATA / "salad_head.npz")
    head = TransportAggregator(16, clusters=6, cluster_width=5, token_width=4)
    generator = torch.Generator().manual_seed(int(golden["seed"]))
    shapes = {key: value.shape for key, value in head.state_dict().items()}
    head.load_state_dict({key: torch.randn(shapes[key], generator=generator) * 0.2 for key in sorted(shapes)})
    with torch.no_grad():
        found = head(torch.from_numpy(golden["patches"]), torch.from_numpy(golden["token"]))
    np.testing.assert_allclose(found.numpy(), golden["descriptor"], atol=1e-6)


def test_transport_gives_every_cluster_one_patch_worth():
    scores = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(0))
    shares = transport_shares(scores, torch.tensor(1.0))
    assert shares.shape == (2, 6, 40) and (shares > 0).all()
    np.testing.assert_allclose(shares.sum(dim=2).numpy(), 1.0, atol=0.05)
    assert (shares.sum(dim=1) <= 1.0 + 1e-4).all()


def test_the_salad_network_has_the_keys_of_the_published_file_and_describes_images(tmp_path):
    from safetensors.torch import save_file

    with torch.device("meta"):
        keys = {key: value.shape for key, value in SaladNetwork().state_dict().items()}
    # the published file has 352,040,378 bytes: these, a mask token of 768 numbers, and what the format adds
    assert 0 < 352_040_378 - 4 * (sum(shape.numel() for shape in keys.values()) + 768) < 100_000
    assert {
        "backbone.model.blocks.11.mlp.fc2.bias",
        "aggregator.cluster_features.3.weight",
        "aggregator.dust_bin",
    } <= set(keys)
    torch.manual_seed(0)
    tensors = {key: torch.empty(shape, dtype=torch.float16).uniform_(-0.03, 0.03) for key, shape in keys.items()}
    tensors["backbone.model.mask_token"] = torch.zeros(1, 768)
    save_file(tensors, tmp_path / "salad.safetensors")
    descriptor = SaladDescriptor(tmp_path / "salad.safetensors")
    found = descriptor.describe([np.full((48, 64, 3), 90, np.uint8)])
    assert found.shape == (1, descriptor.size) == (1, 8448)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    save_file({"aggregator.dust_bin": torch.tensor(1.0)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a checkpoint of SaladNetwork"):
        SaladDescriptor(tmp_path / "other.safetensors")


def test_points_move_as_officially(golden):
    points, first = golden["apply/points"], _unpacked(golden["compose/in"][0])
    moved = first.apply_to_points(points.reshape(-1, 3)).reshape(points.shape)
    np.testing.assert_allclose(moved, golden["apply/out"], atol=1e-12)
    np.testing.assert_allclose(moved, golden["apply/out_torch"], atol=1e-5)


def test_depth_becomes_points_as_officially(golden):
    """The official code looks through the corners of pixels."""
    for depth, k, world_to_camera, expected in zip(
        golden["points/depth"], golden["points/K"], golden["points/w2c"], golden["points/world"], strict=True
    ):
        camera_from_world = np.eye(4)
        camera_from_world[:3] = world_to_camera
        height, width = depth.shape
        camera = Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], np.linalg.inv(camera_from_world))
        points = unproject_pixels(camera, depth, np.arange(depth.size), center=0.0)
        np.testing.assert_allclose(points.reshape(expected.shape), expected, atol=2e-6)


def test_cameras_of_joined_chunks_are_the_official_ones(golden):
    """Chunks overlap; where they do, the later one counts."""
    places = [Similarity.identity(), *map(_unpacked, golden["poses/sim3_acc"])]
    windows = [(int(begin), int(end)) for begin, end in golden["poses/chunks"]]
    count, rows = len(golden["poses/camera_poses_txt"]), iter(range(len(golden["poses/ext"])))
    row_of = [{frame: next(rows) for frame in range(*window)} for window in windows]
    for frame in range(count):
        chunk = chunk_of_frame(windows, frame)
        row = row_of[chunk][frame]
        camera_from_world = np.eye(4)
        camera_from_world[:3] = golden["poses/ext"][row]
        pose = places[chunk].apply_to_poses(np.linalg.inv(camera_from_world)[None])[0]
        np.testing.assert_allclose(pose.ravel(), golden["poses/camera_poses_txt"][frame], atol=1e-12)
        k = golden["poses/int"][row]
        np.testing.assert_array_equal([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], golden["poses/intrinsic_txt"][frame])


def test_a_chain_of_steps_lies_where_the_official_graph_begins(golden):
    nodes = accumulate([_unpacked(row) for row in golden["pgo/seq_in"]])
    _assert_nodes(nodes, golden["pgo/abs_before"], 1e-5)

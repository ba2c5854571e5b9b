"""The alignment of chunks against the official streaming code and exact synthetic cases."""

import numpy as np
import pytest

from dynamic_predictor.stitching.chunk_alignment import (
    align_chunks,
    confidence_limit,
    depth_scale,
    huber_loss,
    robust_similarity,
    weighted_similarity,
)
from dynamic_predictor.stitching.chunk_windows import chunk_of_frame
from dynamic_predictor.stitching.official import OFFICIAL
from scene.camera import Camera
from scene.similarity import Similarity
from tests.dynamic_predictor.stitching.golden_streaming import assert_same, random_similarity, unpacked


def test_similarities_are_the_official_ones(golden):
    source, target, weights = golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"]
    assert_same(weighted_similarity(source, target, np.ones(len(source))), golden["sim3/unweighted"])
    assert_same(weighted_similarity(source, target, weights), golden["sim3/weighted_sim3"])
    assert_same(weighted_similarity(source, target, weights, with_scale=False), golden["sim3/weighted_se3"])
    for method in ("sim3", "se3"):
        for iterations in (1, 5, 20):
            estimate = robust_similarity(
                source,
                target,
                weights,
                with_scale=method == "sim3",
                delta=0.1,
                iterations=iterations,
                conventions=OFFICIAL,
            )
            assert_same(estimate, golden[f"sim3/robust_numpy_{method}_{iterations}"])
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
        conventions=OFFICIAL,
    )


@pytest.mark.parametrize("iterations", [1, 5, 20])
def test_compiled_official_similarities_are_the_same(golden, iterations):
    """The official code has a second, compiled implementation of the iteration, in single precision. For "scale+se3" it
    keeps the scale fixed, as ours does by default."""
    for method, with_scale in (("sim3", True), ("se3", False), ("scale+se3", False)):
        row = golden[f"sim3/robust_numba_{method}_{iterations}"]
        assert_same(_strictly(golden, with_scale, iterations), row, 5e-6)


@pytest.mark.parametrize("iterations", [1, 5, 20])
def test_uncompiled_official_steps_change_a_known_scale(golden, iterations):
    rigid = weighted_similarity(golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"], with_scale=False)
    row = golden[f"sim3/robust_numpy_scale+se3_{iterations}"]
    assert_same(_strictly(golden, True, iterations, rigid), row)
    assert row[0] > 1.3


def test_the_least_confidence_is_the_official_one(golden):
    limit = confidence_limit(golden["align/c1"], golden["align/c2"])
    assert limit == pytest.approx(float(golden["align/conf_threshold"]), rel=1e-6)


def test_outliers_move_the_robust_similarity_little(golden):
    source, target, weights = golden["sim3/src"], golden["sim3/tgt"], golden["sim3/w"]
    truth = unpacked(golden["sim3/true"])

    def error(similarity):
        return np.linalg.norm(similarity.apply_to_points(source) - truth.apply_to_points(source), axis=1).mean()

    assert error(robust_similarity(source, target, weights)) < 0.2 * error(weighted_similarity(source, target, weights))


def test_the_robust_similarity_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    source = rng.normal(0, 1, (400, 3))
    truth = random_similarity(rng)
    target = truth.apply_to_points(source) + rng.normal(0, 0.01, (400, 3))
    target[:60] += rng.normal(0, 3, (60, 3))
    small = robust_similarity(source, target, np.ones(400))
    large = robust_similarity(source, 1000 * target, np.ones(400))
    assert large.scale == pytest.approx(1000 * small.scale, rel=1e-9)
    np.testing.assert_allclose(large.translation, 1000 * small.translation, rtol=1e-9)


def test_chunk_alignment_is_the_official_one(golden):
    maps = [golden[f"align/{name}"] for name in ("p1", "c1", "dep1", "p2", "c2", "dep2")]
    for method in ("sim3", "se3", "scale+se3"):
        aligned = align_chunks(*maps, method=method, delta=0.1, conventions=OFFICIAL)
        assert_same(aligned.similarity, golden[f"align/result_{method}"], 2e-6)


def test_our_depth_scale_is_closer_to_the_truth_than_the_official_quantile(golden):
    maps = [golden[f"align/{name}"] for name in ("dep1", "dep2", "c1", "c2")]
    confidence = (maps[2] * maps[3]).ravel().astype(np.float64)
    ours = depth_scale(maps[0].ravel().astype(np.float64), maps[1].ravel().astype(np.float64), confidence)
    assert abs(ours - 1.25) < 0.01 * abs(golden["scale/weighted"][0] - 1.25)
    assert ours == pytest.approx(golden["scale/auto"][0], rel=1e-4)


def test_points_move_as_in_the_official_code(golden):
    points, first = golden["apply/points"], unpacked(golden["compose/in"][0])
    moved = first.apply_to_points(points.reshape(-1, 3)).reshape(points.shape)
    np.testing.assert_allclose(moved, golden["apply/out"], atol=1e-12)
    np.testing.assert_allclose(moved, golden["apply/out_torch"], atol=1e-5)


def test_points_of_depths_are_the_official_ones(golden):
    """The official rays go through the corners of pixels."""
    for depth, k, world_to_camera, expected in zip(
        golden["points/depth"], golden["points/K"], golden["points/w2c"], golden["points/world"], strict=True
    ):
        camera_from_world = np.eye(4)
        camera_from_world[:3] = world_to_camera
        height, width = depth.shape
        camera = Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], np.linalg.inv(camera_from_world))
        rows, columns = np.indices(depth.shape).reshape(2, -1) - 0.5
        points = camera.unproject_pixels(columns, rows, depth.ravel().astype(np.float64))
        np.testing.assert_allclose(points.reshape(expected.shape), expected, atol=2e-6)


def test_cameras_of_joined_chunks_are_the_official_ones(golden):
    """In an overlap the later chunk counts."""
    places = [Similarity.identity(), *map(unpacked, golden["poses/sim3_acc"])]
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

"""The points of a frame: where they lie, which are drawn, and that a threshold is a cut."""

import numpy as np
import pytest

from scene.camera import Camera
from viewer.points import frame_points


@pytest.fixture
def frame():
    rng = np.random.default_rng(3)
    pose = np.eye(4)
    pose[:3, 3] = [5.0, 6.0, 7.0]
    camera = Camera(40, 30, 50.0, 55.0, 21.0, 14.0, pose)
    image = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    z_depth = rng.uniform(1, 4, (30, 40)).astype(np.float32)
    z_depth[:5] = 0.0
    z_depth[5, 0], z_depth[5, 1] = np.nan, np.inf
    return image, z_depth, rng.uniform(0, 1, (30, 40)).astype(np.float32), camera


def test_points_project_to_their_pixels_and_have_their_colors(frame):
    image, z_depth, confidence, camera = frame
    points = frame_points(image, z_depth, confidence, camera, most=10**6)
    assert len(points) == 25 * 40 - 2
    world = points.positions.astype(np.float64) + camera.center
    pixels, depth = camera.project(world)
    columns, rows = np.floor(pixels + 1e-3).astype(int).T
    np.testing.assert_allclose(pixels - np.floor(pixels), 0.5, atol=1e-3)  # pixel centers
    np.testing.assert_allclose(depth, z_depth[rows, columns], rtol=1e-6)
    np.testing.assert_array_equal(points.colors, image[rows, columns])
    np.testing.assert_array_equal(points.confidence, confidence[rows, columns])


def test_a_threshold_keeps_exactly_the_points_that_reach_it(frame):
    image, z_depth, confidence, camera = frame
    confidence = np.round(confidence, 1)  # with many equal ones
    points = frame_points(image, z_depth, confidence, camera, most=10**6)
    assert (np.diff(points.confidence) <= 0).all()
    known = np.isfinite(z_depth) & (z_depth > 0)
    for threshold in (0.0, 0.3, np.float32(0.5), 0.55, 1.0, 1.1):
        chosen = points.above(float(threshold))
        assert len(chosen) == ((confidence >= np.float32(threshold)) & known).sum()
        assert len(chosen) == len(chosen.colors) == len(chosen.confidence)


def test_few_points_are_drawn_evenly_and_the_same_each_time(frame):
    image, z_depth, confidence, camera = frame
    few = frame_points(image, z_depth, confidence, camera, most=200, seed=1)
    assert len(few) == 200
    np.testing.assert_array_equal(
        few.positions, frame_points(image, z_depth, confidence, camera, most=200, seed=1).positions
    )
    # all parts of the image and all confidences have their share
    assert np.histogram(few.positions[:, 0] / few.positions[:, 2], 4)[0].min() > 25
    assert abs(few.above(0.5).confidence.size - 100) < 30
    thin = few.thinned(50)
    assert len(thin) == 50 and (np.diff(thin.confidence) <= 0).all()
    assert abs(len(thin.above(0.5)) - len(few.above(0.5)) / 4) < 2
    assert few.thinned(1000) is few


def test_images_of_another_size_give_the_colors(frame):
    _, z_depth, confidence, camera = frame
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:] = 200
    points = frame_points(image, z_depth, None, camera, most=10**6)
    right = points.positions[:, 0] / points.positions[:, 2] * camera.fx + camera.cx > 20
    assert (points.colors[right] == 200).all() and (points.colors[~right] == 0).all()
    assert (points.confidence == 1).all()


def test_no_known_depth_gives_no_points(frame):
    image, z_depth, confidence, camera = frame
    points = frame_points(image, np.zeros_like(z_depth), confidence, camera, most=100)
    assert len(points) == len(points.above(0.0)) == 0


def test_moving_things_can_be_left_out(frame):
    image, z_depth, confidence, camera = frame
    motion = np.zeros_like(z_depth)
    motion[:, 30:] = 1.0
    points = frame_points(image, z_depth, confidence, camera, motion=motion, most=10**6)
    static = points.above(0.4, moving=False)
    columns = static.positions[:, 0] / static.positions[:, 2] * camera.fx + camera.cx
    assert columns.max() < 30 and static.confidence.min() >= np.float32(0.4)
    known = np.isfinite(z_depth) & (z_depth > 0)
    assert len(static) == (known & (motion == 0) & (confidence >= np.float32(0.4))).sum()
    assert len(points.above(0.4)) == (known & (confidence >= np.float32(0.4))).sum()

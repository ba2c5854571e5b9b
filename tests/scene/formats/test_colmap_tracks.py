"""Observations are bounded, consistent, and shared fairly between the images."""

import numpy as np

from scene.camera import Camera
from scene.formats.colmap_tracks import observe, on_surface
from tests.scene.formats.colmap_models import made_up_model


def row_of_cameras(count: int, apart: float) -> list[Camera]:
    """Side by side, 80x60 pixels, looking along z; each sees 4 units across at a distance of 4."""
    return [Camera(80, 60, 80.0, 80.0, 40.0, 30.0, _at([apart * index, 0, 0])) for index in range(count)]


def _at(place: list[float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = place
    return pose


def test_observations_are_limited_and_hidden_points_left_out() -> None:
    _, cameras, cloud = made_up_model(points=9000)
    positions = cloud.positions.astype(float)
    observations = observe(cameras * 100, positions, lambda index, pixels, z: z < 4.0)
    assert 390_000 < sum(len(indices) for _, indices in observations) <= 400_000
    for camera, (pixels, indices) in zip(cameras, observations, strict=False):
        assert 400 < len(pixels) == len(set(indices.tolist())) < 1600
        projected, z = camera.project(positions[indices])
        assert (z < 4.0).all() and np.array_equal(projected, pixels)
        assert indices.max() > 8500 and indices.min() < 500  # from all over
        assert (pixels >= 0).all() and (pixels <= [80, 60]).all()


def test_a_point_that_is_chosen_is_observed_by_all_that_see_it() -> None:
    """On a wall with far more points than the bound of observations allows, each image gets its share."""
    cameras = row_of_cameras(8, 1.0)
    generator = np.random.default_rng(1)
    wall = np.stack([generator.uniform(-2, 9, 100_000), generator.uniform(-1, 1, 100_000), np.full(100_000, 4.0)], 1)
    observations = observe(cameras, wall)
    counts = np.zeros(len(wall), int)
    for _, indices in observations:
        counts[indices] += 1
    seen = sum(_inside(camera, wall) for camera in cameras)
    observed = counts > 0
    assert np.array_equal(counts[observed], np.asarray(seen)[observed]) and counts[observed].min() >= 2
    assert 31_000 < counts.sum() <= 32_000
    assert min(len(indices) for _, indices in observations) > 1500


def _inside(camera: Camera, positions: np.ndarray) -> np.ndarray:
    pixels, z = camera.project(positions)
    return ((z > 0) & (pixels >= 0).all(axis=1) & (pixels <= [camera.width, camera.height]).all(axis=1)).astype(int)


def test_an_image_that_shares_little_keeps_some_points_of_its_own() -> None:
    cameras = [*row_of_cameras(2, 0.5), *row_of_cameras(1, 0)]
    cameras[2] = cameras[2].moved(_at([100.0, 0, 0]))
    generator = np.random.default_rng(2)
    wall = np.stack([generator.uniform(-2, 2, 2000), generator.uniform(-1, 1, 2000), np.full(2000, 4.0)], 1)
    wall[1000:, 0] += 100.0
    observations = observe(cameras, wall)
    assert len(observations[2][1]) == 50 and observations[2][1].min() >= 1000
    assert np.array_equal(cameras[2].project(wall[observations[2][1]])[0], observations[2][0])
    assert len(observations[0][1]) > 800


def test_a_point_is_on_a_surface_when_neither_hidden_nor_before_it() -> None:
    depth = np.full((2, 3), 4.0, np.float32)
    depth[0, 1:] = [0.0, np.inf]
    pixels = np.array([[0.5, 1.5], [0.5, 1.5], [0.5, 1.5], [1.5, 0.5], [2.5, 0.5], [3.0, 2.0], [3.1, 1.0], [-0.1, 1.0]])
    z = np.array([4.01, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    assert on_surface(depth, pixels, z).tolist() == [True, False, False, False, False, True, False, False]

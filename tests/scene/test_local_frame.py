"""The frame in which scenes of any size and place are computed."""

import numpy as np
import pytest

from scene.camera import Camera
from scene.local_frame import frame_of_points, frame_of_views, is_identity, local_frame, median_depth, moved_camera
from tests.scene.formats.random_poses import random_poses


def test_an_ordinary_scene_stays_in_its_own_frame() -> None:
    assert is_identity(local_frame(np.zeros((3, 3)), 4.0))
    assert is_identity(local_frame(np.array([[1.0, -2.0, 30.0]]), 3.0))
    assert is_identity(local_frame(np.zeros((0, 3)), np.nan)) and is_identity(local_frame(np.zeros((1, 3)), 0.0))


@pytest.mark.parametrize("scale", [1e-300, 1e-4, 0.003, 1.0, 1e3, 1e6, 1e30])
def test_the_depth_becomes_the_usual_one_by_a_power_of_two(scale: float) -> None:
    frame = local_frame(np.zeros((2, 3)), 4.0 * scale)
    assert np.log2(frame.scale) == round(np.log2(frame.scale)) and np.isfinite(frame.scale)
    if 1e-100 < scale:
        assert 0.7 < scale / frame.scale < 1.42


def test_a_far_scene_is_moved_to_the_origin() -> None:
    frame = local_frame(np.array([[500000.0, 4500000, 0], [500001, 4500003, 1], [500002, 4500001, 2]]), 4.0)
    np.testing.assert_array_equal(frame.translation, [500001, 4500001, 1])
    # as far, but as large
    assert not local_frame(np.full((1, 3), 5e5), 4e5).translation.any()


def test_points_without_cameras_and_with_some() -> None:
    points = np.random.default_rng(0).normal(0, 2e-3, (500, 3)) + [7e3, 0, 0]
    frame = frame_of_points(points)
    local = frame.inverse().apply_to_points(points)
    assert 1 < np.median(np.linalg.norm(local, axis=1)) < 8 and np.abs(np.median(local, axis=0)).max() < 0.1
    pose = np.eye(4)
    pose[:3, 3] = [7e3, 0, -0.05]
    camera = Camera(100, 80, 90.0, 90.0, 50, 40, pose)
    depth = median_depth([camera], points)
    assert depth is not None and 0.04 < depth < 0.06
    seen = frame_of_views([camera], points)
    assert 0.7 < depth / 4 / seen.scale < 1.42
    blind = camera.moved(pose @ np.diag([-1.0, 1, -1, 1]))
    assert median_depth([blind], points) is None
    assert frame_of_views([blind], points).scale == frame.scale
    assert is_identity(frame_of_points(np.full((3, 3), np.nan)))


def test_cameras_come_back_to_the_last_digits_of_their_place() -> None:
    poses = random_poses(4, 1)
    poses[:, :3, 3] += [500000.0, 4500000.0, 100.0]
    frame = local_frame(poses[:, :3, 3], 5e-3)
    for pose in poses:
        camera = Camera(8, 8, 9.0, 9.0, 4, 4, pose)
        back = moved_camera(moved_camera(camera, frame.inverse()), frame)
        np.testing.assert_allclose(back.world_from_camera, pose, rtol=0, atol=2e-9)

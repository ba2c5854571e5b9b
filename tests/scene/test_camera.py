"""Camera: conventions, projection and resizing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.camera import Camera


def any_camera(seed: int, width: int = 50, height: int = 30) -> Camera:
    generator = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = generator.normal(size=3)
    return Camera(width, height, 40.0, 42.0, width / 2 + 1.0, height / 2 - 2.0, pose)


def test_conventions_by_hand() -> None:
    """Looking along world +z with y down: a point to the right and below projects to the right and below."""
    camera = Camera(100, 60, 80.0, 80.0, 50.0, 30.0, np.eye(4))
    pixels, z = camera.project(np.array([[0.0, 0.0, 4.0], [1.0, 0.5, 4.0], [0.0, 0.0, -1.0]]))
    assert np.allclose(pixels[:2], [[50, 30], [70, 40]]) and np.allclose(z, [4, 4, -1])
    points = camera.unproject(np.full((60, 100), 8.0))
    assert np.allclose(points[0, 0], [(0.5 - 50) / 10, (0.5 - 30) / 10, 8.0])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_project_undoes_unproject(seed: int) -> None:
    camera = any_camera(seed)
    depth = np.random.default_rng(seed).uniform(0.1, 10, (30, 50))
    pixels, z = camera.project(camera.unproject(depth).reshape(-1, 3))
    v, u = np.mgrid[:30, :50]
    assert np.allclose(pixels, np.stack([u.ravel(), v.ravel()], axis=1) + 0.5) and np.allclose(z, depth.ravel())
    assert np.allclose(camera.camera_from_world @ camera.world_from_camera, np.eye(4))


def test_resizing_keeps_the_rays() -> None:
    camera = any_camera(0)
    larger = camera.resized(100, 90)
    points = np.random.default_rng(0).normal(size=(20, 3)) + camera.world_from_camera[:3, 2] * 5
    assert np.allclose(larger.project(points)[0], camera.project(points)[0] * [2, 3])


def test_pose_of_the_wrong_shape() -> None:
    with pytest.raises(ValueError, match="4x4"):
        Camera(10, 10, 1, 1, 5, 5, np.eye(3))

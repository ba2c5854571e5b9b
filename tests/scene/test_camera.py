"""The pinhole camera and its conventions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.rotations import is_rigid, nearest_rotation, quaternion_from_rotation, rotation_from_quaternion


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


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_quaternions(seed: int) -> None:
    rotation = Rotation.random(3, random_state=seed)
    wxyz = quaternion_from_rotation(rotation.as_matrix())
    assert (wxyz[:, 0] >= 0).all() and np.allclose(np.linalg.norm(wxyz, axis=1), 1)
    assert np.allclose(rotation_from_quaternion(wxyz * 3.0), rotation.as_matrix())
    x, y, z, w = rotation.as_quat()[0]
    assert np.isclose(abs(np.dot(wxyz[0], [w, x, y, z])), 1)


def test_rigid_or_not() -> None:
    rotation = Rotation.from_rotvec([1, 2, 3]).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = rotation
    assert is_rigid(pose)
    assert not is_rigid(np.diag([1.0, 1.0, -1.0, 1.0]))
    assert not is_rigid(np.diag([2.0, 2.0, 2.0, 1.0]))
    assert not is_rigid(np.where(np.eye(4) > 0, np.nan, 0.0)) and not is_rigid(np.eye(3))
    noisy = rotation + np.random.default_rng(0).normal(0, 1e-3, (3, 3))
    assert np.abs(nearest_rotation(noisy) - rotation).max() < 5e-3
    assert np.allclose(nearest_rotation(rotation * 2), rotation)
    assert np.isclose(np.linalg.det(nearest_rotation(np.diag([1.0, 1.0, -0.1]))), 1)

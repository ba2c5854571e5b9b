"""Rotation matrices and quaternions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.rotations import is_rigid, nearest_rotation, quaternion_from_rotation, rotation_from_quaternion


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_quaternions(seed: int) -> None:
    rotation = Rotation.random(3, random_state=seed)
    wxyz = quaternion_from_rotation(rotation.as_matrix())
    assert (wxyz[:, 0] >= 0).all() and np.allclose(np.linalg.norm(wxyz, axis=1), 1)
    assert np.allclose(rotation_from_quaternion(wxyz * 3.0), rotation.as_matrix())
    x, y, z, w = rotation.as_quat()[0]
    assert np.isclose(abs(np.dot(wxyz[0], [w, x, y, z])), 1)


def test_rigid_motions() -> None:
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

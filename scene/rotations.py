"""Rotation matrices and quaternions. Quaternions are in the order wxyz, as in the whole package."""

import numpy as np
from scipy.spatial.transform import Rotation


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz (..., 4), with w >= 0, of rotation matrices (..., 3, 3)."""
    rotation = np.asarray(rotation, np.float64)
    xyzw = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat()
    wxyz = xyzw[:, [3, 0, 1, 2]]
    wxyz[wxyz[:, 0] < 0] *= -1.0
    return wxyz.reshape(*rotation.shape[:-2], 4)


def rotation_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) of quaternions wxyz (..., 4) of any length; raises `ValueError` if it is zero."""
    quaternion = np.asarray(quaternion, np.float64)
    flat = quaternion.reshape(-1, 4)
    return Rotation.from_quat(flat[:, [1, 2, 3, 0]]).as_matrix().reshape(*quaternion.shape[:-1], 3, 3)


def affine_matrix(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The matrices (..., 4, 4) of x -> rotation @ x + translation; `rotation` (..., 3, 3), `translation` (..., 3)."""
    matrix = np.zeros((*rotation.shape[:-2], 4, 4))
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1.0
    return matrix


def is_rigid(matrix: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Whether a 4x4 matrix is a rigid motion up to `tolerance`: finite, a rotation, and a last row of 0 0 0 1."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    rotation = matrix[:3, :3]
    return bool(
        np.abs(rotation @ rotation.T - np.eye(3)).max() <= tolerance
        and np.linalg.det(rotation) > 0
        and np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() <= tolerance
    )


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotations closest to matrices (..., 3, 3) in the Frobenius norm (orthogonal Procrustes problem)."""
    u, _, vt = np.linalg.svd(matrix)
    signs = np.ones(u.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(u @ vt))
    return (u * signs[..., None, :]) @ vt

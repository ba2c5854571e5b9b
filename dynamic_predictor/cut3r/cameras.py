"""Poses, ray maps and rigid alignment in the conventions of CUT3R (Wang et al., 2025).

A pose has seven numbers: translation and quaternion wxyz of `world_from_camera`, OpenCV axes; the world is the camera
of the first view.
"""

import numpy as np

from scene.rotations import affine_matrix, nearest_rotation, quaternion_from_rotation, rotation_from_quaternion


def pose_matrix(pose: np.ndarray) -> np.ndarray:
    """`world_from_camera` (..., 4, 4) float64 of poses (..., 7)."""
    pose = np.asarray(pose, np.float64)
    return affine_matrix(rotation_from_quaternion(pose[..., 3:]), pose[..., :3])


def pose_of_matrix(world_from_camera: np.ndarray) -> np.ndarray:
    """Poses (..., 7) float64 of `world_from_camera` (..., 4, 4)."""
    matrix = np.asarray(world_from_camera, np.float64)
    return np.concatenate([matrix[..., :3, 3], quaternion_from_rotation(matrix[..., :3, :3])], axis=-1)


def ray_map(
    intrinsics: np.ndarray, world_from_camera: np.ndarray, height: int, width: int, *, pixel_offset: float = 0.0
) -> np.ndarray:
    """The rays of a camera's pixels, (height, width, 6) float32: origin and direction in the world.

    Pixel (u, v) lies at (u + `pixel_offset`, v + `pixel_offset`) in the coordinates of `intrinsics` (3, 3). As in the
    training data of CUT3R, the direction is that of the point at depth 1 seen from the world's origin,
    normalize(R K^-1 (u, v, 1) + t), not that of the ray.
    """
    pose = np.asarray(world_from_camera, np.float64)
    v, u = np.mgrid[:height, :width] + pixel_offset
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    points = pixels @ (pose[:3, :3] @ np.linalg.inv(intrinsics)).T + pose[:3, 3]
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    origins = np.broadcast_to(pose[:3, 3], points.shape)
    return np.concatenate([origins, points / np.maximum(length, 1e-12)], axis=-1).astype(np.float32)


def rigid_alignment(points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rigid motion (4, 4) that moves `points` (N, 3) onto `targets` (N, 3) with the least squared error, under
    `weights` (N,) of zero or more (Kabsch, 1976)."""
    points, targets = np.asarray(points, np.float64), np.asarray(targets, np.float64)
    share = np.asarray(weights, np.float64)[:, None]
    share = share / max(float(share.sum()), 1e-16)
    mean, target_mean = (share * points).sum(axis=0), (share * targets).sum(axis=0)
    rotation = nearest_rotation((share * (targets - target_mean)).T @ (points - mean))
    return affine_matrix(rotation, target_mean - rotation @ mean)

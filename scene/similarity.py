"""Similarity transforms (scale, rotation, translation), and the least-squares alignment of points or camera poses.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 1991.
"""

from dataclasses import dataclass

import numpy as np

from scene.rotations import affine_matrix, nearest_rotation

#: weight of the orientations relative to the centers: large enough to determine the rotation where the centers leave it
#: open (a straight or short path), small enough not to change it otherwise
_ORIENTATION_WEIGHT = 0.01


@dataclass(frozen=True)
class Similarity:
    """The transform x -> scale * rotation @ x + translation."""

    scale: float
    #: (3, 3)
    rotation: np.ndarray
    #: (3,)
    translation: np.ndarray

    @staticmethod
    def identity() -> "Similarity":
        """The identity transform."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    @staticmethod
    def from_matrix(matrix: np.ndarray) -> "Similarity":
        """The similarity of a 4x4 matrix [[scale * rotation, translation], [0, 1]]."""
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        return Similarity(scale, matrix[:3, :3] / scale, matrix[:3, 3].copy())

    @property
    def matrix(self) -> np.ndarray:
        """The 4x4 matrix [[scale * rotation, translation], [0, 1]]."""
        return affine_matrix(self.scale * self.rotation, self.translation)

    def __matmul__(self, other: "Similarity") -> "Similarity":
        """The composition x -> self(other(x))."""
        return Similarity(
            self.scale * other.scale, self.rotation @ other.rotation, self.apply_to_points(other.translation)
        )

    def inverse(self) -> "Similarity":
        """The inverse transform."""
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Transforms points (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def apply_to_poses(self, world_from_camera: np.ndarray) -> np.ndarray:
        """Transforms poses world_from_camera (..., 4, 4). The results are rigid: only the centers are scaled."""
        moved = np.array(world_from_camera, np.float64)
        moved[..., :3, :3] = self.rotation @ moved[..., :3, :3]
        moved[..., :3, 3] = self.apply_to_points(moved[..., :3, 3])
        return moved


def align_points(estimated: np.ndarray, reference: np.ndarray, *, with_scale: bool = True) -> Similarity:
    """The similarity (with `with_scale` off, the rigid motion) that aligns points `estimated` (N, 3) with `reference`
    (N, 3) in the least-squares sense. For points on a line, the rotation about the line is arbitrary. Raises
    `ValueError` for unequal or empty arrays."""
    return _umeyama(estimated, reference, with_scale, None)


def align_poses(
    estimated: np.ndarray, reference: np.ndarray, *, with_scale: bool = True, use_orientations: bool = False
) -> Similarity:
    """Aligns the camera centers of poses world_from_camera (N, 4, 4), as `align_points`. With `use_orientations`, the
    orientations of the cameras determine the rotation where the centers leave it open, as for straight paths and
    cameras that do not move."""
    estimated, reference = np.asarray(estimated, np.float64), np.asarray(reference, np.float64)
    mean_rotation = None
    if use_orientations and len(estimated):
        mean_rotation = np.mean(reference[:, :3, :3] @ estimated[:, :3, :3].transpose(0, 2, 1), axis=0)
    return _umeyama(estimated[:, :3, 3], reference[:, :3, 3], with_scale, mean_rotation)


def _umeyama(
    estimated: np.ndarray, reference: np.ndarray, with_scale: bool, mean_rotation: np.ndarray | None
) -> Similarity:
    estimated, reference = np.asarray(estimated, np.float64), np.asarray(reference, np.float64)
    if estimated.shape != reference.shape or estimated.ndim != 2 or estimated.shape[1] != 3 or not len(estimated):
        raise ValueError(f"paths of shapes {estimated.shape} and {reference.shape} cannot be aligned")
    estimated_mean, reference_mean = estimated.mean(axis=0), reference.mean(axis=0)
    source, target = estimated - estimated_mean, reference - reference_mean
    covariance = target.T @ source / len(source)
    source_variance, target_variance = (source**2).sum(axis=1).mean(), (target**2).sum(axis=1).mean()
    correlation = covariance
    spread = np.sqrt(source_variance * target_variance)
    if mean_rotation is not None:
        correlation = (covariance / spread if spread > 0 else 0.0) + _ORIENTATION_WEIGHT * mean_rotation
    rotation = nearest_rotation(correlation)
    scale = 1.0
    # the scale is undefined where all points coincide up to rounding
    largest = np.abs(estimated).max() + 1e-300
    if with_scale and source_variance > (1e-12 * largest) ** 2:
        scale = float(np.trace(rotation.T @ covariance) / source_variance)
    return Similarity(scale, rotation, reference_mean - scale * rotation @ estimated_mean)

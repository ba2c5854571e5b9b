"""Similarity transforms (rotation, translation, scale) and the one that aligns points or camera poses best.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 1991.
"""

from dataclasses import dataclass

import numpy as np

from scene.rotations import nearest_rotation

#: how much orientations say about the aligning rotation beside centres, when they are used: enough to decide where the
#: centres leave it open (a straight or short path), too little to matter where they do not
_ORIENTATION_WEIGHT = 0.01


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation, from the estimate's world to the reference's."""

    scale: float
    rotation: np.ndarray  #: (3, 3)
    translation: np.ndarray  #: (3,)

    @staticmethod
    def identity() -> "Similarity":
        """The one that changes nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    @staticmethod
    def from_matrix(matrix: np.ndarray) -> "Similarity":
        """Of a 4x4 matrix [[scale * rotation, translation], [0, 1]]."""
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        return Similarity(scale, matrix[:3, :3] / scale, matrix[:3, 3].copy())

    @property
    def matrix(self) -> np.ndarray:
        """4x4: [[scale * rotation, translation], [0, 1]]."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.scale * self.rotation, self.translation
        return matrix

    def __matmul__(self, other: "Similarity") -> "Similarity":
        """`(a @ b)(x) = a(b(x))`."""
        return Similarity(
            self.scale * other.scale, self.rotation @ other.rotation, self.apply_to_points(other.translation)
        )

    def inverse(self) -> "Similarity":
        """The similarity that undoes this one."""
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def apply_to_poses(self, world_from_camera: np.ndarray) -> np.ndarray:
        """Poses (..., 4, 4) stay rigid: rotations turn, centres move and scale."""
        moved = np.array(world_from_camera, np.float64)
        moved[..., :3, :3] = self.rotation @ moved[..., :3, :3]
        moved[..., :3, 3] = self.apply_to_points(moved[..., :3, 3])
        return moved


def align_points(estimated: np.ndarray, reference: np.ndarray, *, with_scale: bool = True) -> Similarity:
    """The similarity (or with `with_scale` off, the rigid motion) that takes points (N, 3) to others with the least sum
    of squares. Points on one line leave the rotation about it open."""
    return _umeyama(estimated, reference, with_scale, None)


def align_poses(
    estimated: np.ndarray, reference: np.ndarray, *, with_scale: bool = True, use_orientations: bool = False
) -> Similarity:
    """Aligns the camera centres of poses (N, 4, 4). With `use_orientations`, how the cameras look decides what the
    centres leave open, so that straight paths and standing cameras are not degenerate."""
    estimated, reference = np.asarray(estimated, np.float64), np.asarray(reference, np.float64)
    turns = None
    if use_orientations and len(estimated):
        turns = np.mean(reference[:, :3, :3] @ estimated[:, :3, :3].transpose(0, 2, 1), axis=0)
    return _umeyama(estimated[:, :3, 3], reference[:, :3, 3], with_scale, turns)


def _umeyama(estimated: np.ndarray, reference: np.ndarray, with_scale: bool, turns: np.ndarray | None) -> Similarity:
    estimated, reference = np.asarray(estimated, np.float64), np.asarray(reference, np.float64)
    if estimated.shape != reference.shape or estimated.ndim != 2 or estimated.shape[1] != 3 or not len(estimated):
        raise ValueError(f"paths of shapes {estimated.shape} and {reference.shape} cannot be aligned")
    estimated_mean, reference_mean = estimated.mean(axis=0), reference.mean(axis=0)
    source, target = estimated - estimated_mean, reference - reference_mean
    covariance = target.T @ source / len(source)
    source_variance, target_variance = (source**2).sum(axis=1).mean(), (target**2).sum(axis=1).mean()
    guide = covariance
    spread = np.sqrt(source_variance * target_variance)
    if turns is not None:
        guide = (covariance / spread if spread > 0 else 0.0) + _ORIENTATION_WEIGHT * turns
    rotation = nearest_rotation(guide)
    scale = 1.0
    # A path that stands still, up to rounding, has no scale.
    size = np.abs(estimated).max() + 1e-300
    if with_scale and source_variance > (1e-12 * size) ** 2:
        scale = float(np.trace(rotation.T @ covariance) / source_variance)
    return Similarity(scale, rotation, reference_mean - scale * rotation @ estimated_mean)

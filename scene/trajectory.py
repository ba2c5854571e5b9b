"""Comparing two camera paths: alignment, absolute and relative errors.

Poses are world_from_camera (N, 4, 4), estimated and reference, of the same moments. Alignment: Umeyama, "Least-squares
estimation of transformation parameters between two point patterns", TPAMI 1991. Errors: Sturm et al., "A benchmark for
the evaluation of RGB-D SLAM systems", IROS 2012.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scene.rotations import nearest_rotation

Alignment = Literal["sim3", "se3", "none"]

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


@dataclass(frozen=True)
class AbsoluteError:
    """Distances between aligned centres, in the reference's unit."""

    rmse: float
    mean: float
    median: float
    largest: float
    per_frame: np.ndarray  #: (N,)
    similarity: Similarity  #: the alignment that was used


@dataclass(frozen=True)
class RelativeError:
    """How wrong the motion between frames `delta` apart is: root mean squares."""

    translation: float  #: in the reference's unit
    rotation_degrees: float


def absolute_trajectory_error(
    estimated: np.ndarray,
    reference: np.ndarray,
    *,
    alignment: Alignment = "sim3",
    use_orientations: bool = False,
) -> AbsoluteError:
    """ATE of poses (N, 4, 4) after aligning all centres."""
    similarity = _alignment(estimated, reference, alignment, use_orientations)
    aligned = similarity.apply_to_points(np.asarray(estimated, np.float64)[:, :3, 3])
    distances = np.linalg.norm(aligned - np.asarray(reference, np.float64)[:, :3, 3], axis=1)
    return AbsoluteError(
        rmse=float(np.sqrt(np.mean(distances**2))),
        mean=float(distances.mean()),
        median=float(np.median(distances)),
        largest=float(distances.max()),
        per_frame=distances,
        similarity=similarity,
    )


def relative_pose_error(
    estimated: np.ndarray,
    reference: np.ndarray,
    *,
    delta: int = 1,
    alignment: Alignment = "sim3",
    use_orientations: bool = False,
) -> RelativeError:
    """RPE over all pairs of poses (N, 4, 4) that are `delta` frames apart; the alignment matters by its scale."""
    if not 0 < delta < len(reference):
        raise ValueError(f"frames {delta} apart do not exist among {len(reference)}")
    similarity = _alignment(estimated, reference, alignment, use_orientations)
    aligned = similarity.apply_to_poses(estimated)
    steps = [_inverse(poses[:-delta]) @ poses[delta:] for poses in (np.asarray(reference, np.float64), aligned)]
    difference = _inverse(steps[0]) @ steps[1]
    translation = np.linalg.norm(difference[:, :3, 3], axis=1)
    angles = rotation_angle(difference[:, :3, :3])
    return RelativeError(float(np.sqrt(np.mean(translation**2))), float(np.degrees(np.sqrt(np.mean(angles**2)))))


def rotation_angle(rotations: np.ndarray) -> np.ndarray:
    """By how much rotations (..., 3, 3) turn, in radians in [0, pi]; exact for small angles too."""
    skew = rotations - np.swapaxes(rotations, -1, -2)
    sine = np.linalg.norm(np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1), axis=-1) / 2.0
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1.0) / 2.0
    return np.arctan2(sine, cosine)


def path_length(world_from_camera: np.ndarray) -> float:
    """Sum of the distances between successive centres of poses (N, 4, 4)."""
    centers = np.asarray(world_from_camera, np.float64)[:, :3, 3]
    return float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())


def _alignment(
    estimated: np.ndarray, reference: np.ndarray, alignment: Alignment, use_orientations: bool
) -> Similarity:
    if len(estimated) != len(reference):
        raise ValueError(f"{len(estimated)} estimated poses for {len(reference)} reference poses")
    if alignment == "none":
        return Similarity(1.0, np.eye(3), np.zeros(3))
    with_scale = alignment == "sim3"
    return align_poses(estimated, reference, with_scale=with_scale, use_orientations=use_orientations)


def _inverse(poses: np.ndarray) -> np.ndarray:
    inverse = np.tile(np.eye(4), (len(poses), 1, 1))
    rotation = poses[:, :3, :3].transpose(0, 2, 1)
    inverse[:, :3, :3] = rotation
    inverse[:, :3, 3] = -(rotation @ poses[:, :3, 3:])[..., 0]
    return inverse

"""Absolute and relative errors of an estimated camera path against a reference.

Poses are world_from_camera (N, 4, 4), one estimated and one reference pose per frame. Errors: Sturm et al., "A
benchmark for the evaluation of RGB-D SLAM systems", IROS 2012. Alignment: `scene.similarity`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scene.rotations import affine_matrix
from scene.similarity import Similarity, align_poses

Alignment = Literal["sim3", "se3", "none"]


@dataclass(frozen=True)
class AbsoluteError:
    """Distances between aligned camera centers, in units of the reference."""

    rmse: float
    #: (N,)
    per_frame: np.ndarray


@dataclass(frozen=True)
class RelativeError:
    """Root mean square errors of the relative motion between frames."""

    #: in units of the reference
    translation: float
    rotation_degrees: float


def absolute_trajectory_error(
    estimated: np.ndarray,
    reference: np.ndarray,
    *,
    alignment: Alignment = "sim3",
    use_orientations: bool = False,
) -> AbsoluteError:
    """Absolute trajectory error (ATE) after aligning all centers. Raises `ValueError` for unequal numbers of poses."""
    similarity = _alignment(estimated, reference, alignment, use_orientations)
    aligned = similarity.apply_to_points(np.asarray(estimated, np.float64)[:, :3, 3])
    distances = np.linalg.norm(aligned - np.asarray(reference, np.float64)[:, :3, 3], axis=1)
    return AbsoluteError(float(np.sqrt(np.mean(distances**2))), distances)


def relative_pose_error(
    estimated: np.ndarray,
    reference: np.ndarray,
    *,
    delta: int = 1,
    alignment: Alignment = "sim3",
    use_orientations: bool = False,
) -> RelativeError:
    """Relative pose error (RPE) over all pairs of frames that are `delta` apart, after an alignment of all camera
    centers. Raises `ValueError` where there is no such pair."""
    if not 0 < delta < len(reference):
        raise ValueError(f"there are no frames {delta} apart among {len(reference)}")
    similarity = _alignment(estimated, reference, alignment, use_orientations)
    aligned = similarity.apply_to_poses(estimated)
    steps = [_inverse(poses[:-delta]) @ poses[delta:] for poses in (np.asarray(reference, np.float64), aligned)]
    difference = _inverse(steps[0]) @ steps[1]
    translation = np.linalg.norm(difference[:, :3, 3], axis=1)
    angles = rotation_angle(difference[:, :3, :3])
    return RelativeError(float(np.sqrt(np.mean(translation**2))), float(np.degrees(np.sqrt(np.mean(angles**2)))))


def rotation_angle(rotations: np.ndarray) -> np.ndarray:
    """The angles (...), in [0, pi] radians, of rotations (..., 3, 3); exact for small angles, too."""
    skew = rotations - np.swapaxes(rotations, -1, -2)
    sine = np.linalg.norm(np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1), axis=-1) / 2.0
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1.0) / 2.0
    return np.arctan2(sine, cosine)


def path_length(world_from_camera: np.ndarray) -> float:
    """Sum of the distances between successive camera centers of poses (N, 4, 4)."""
    centers = np.asarray(world_from_camera, np.float64)[:, :3, 3]
    return float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())


def _alignment(
    estimated: np.ndarray, reference: np.ndarray, alignment: Alignment, use_orientations: bool
) -> Similarity:
    if len(estimated) != len(reference):
        raise ValueError(f"{len(estimated)} estimated poses for {len(reference)} reference poses")
    if alignment == "none":
        return Similarity.identity()
    with_scale = alignment == "sim3"
    return align_poses(estimated, reference, with_scale=with_scale, use_orientations=use_orientations)


def _inverse(poses: np.ndarray) -> np.ndarray:
    rotation = poses[:, :3, :3].transpose(0, 2, 1)
    return affine_matrix(rotation, -(rotation @ poses[:, :3, 3:])[..., 0])

"""Alignment of two sets of cameras that is determined even where the cameras are on a line or hardly move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scene.camera import Camera
from scene.rotations import nearest_rotation
from scene.similarity import Similarity
from scene.trajectory import rotation_angle


@dataclass(frozen=True)
class CameraAlignment:
    """A similarity from the source world to the target world, with root mean square residuals."""

    similarity: Similarity
    #: of camera centers, in target units
    center_error: float
    #: of orientations
    rotation_error_degrees: float


def align_cameras(source: Sequence[Camera], target: Sequence[Camera], *, scale: float | None = None) -> CameraAlignment:
    """The similarity that aligns the `source` with the `target` cameras, pair by pair, by centers and orientations.

    Centers alone (Umeyama, 1991) do not determine the rotation about a straight path, nor anything when the camera does
    not move. Here the rotation maximizes the likelihood of centers and orientations under isotropic noise, whose
    variances are estimated from the residuals in a few iterations: the weighted correlation of both is projected onto
    the rotations by SVD. `scale` fixes the scale, for cameras that do not move; without it, their scale is 1. Raises
    `ValueError` for no cameras or different numbers of them.
    """
    if len(source) != len(target) or not source:
        raise ValueError(f"{len(source)} source cameras for {len(target)} target cameras")
    source_centers = np.array([camera.center for camera in source])
    target_centers = np.array([camera.center for camera in target])
    source_mean, target_mean = source_centers.mean(axis=0), target_centers.mean(axis=0)
    a, b = source_centers - source_mean, target_centers - target_mean
    spread = float((a**2).sum())
    source_rotations = np.array([camera.world_from_camera[:3, :3] for camera in source])
    target_from_camera = np.array([camera.world_from_camera[:3, :3] for camera in target]).transpose(0, 2, 1)
    from_orientations = (source_rotations @ target_from_camera).sum(axis=0).T
    from_centers = b.T @ a
    rotation = nearest_rotation(from_orientations)
    current_scale = 1.0

    def residuals() -> tuple[np.ndarray, np.ndarray]:
        return b - current_scale * a @ rotation.T, rotation_angle(rotation @ source_rotations @ target_from_camera)

    for _ in range(10):
        moving = spread > 1e-18
        if scale is not None:
            current_scale = scale
        elif moving:
            current_scale = max(float((b * (a @ rotation.T)).sum()) / spread, 1e-12)
        center_residuals, angles = residuals()
        # lower bounds keep the weights balanced where centers or orientations fit exactly
        angle_variance = float((angles**2).mean()) / 3 + 1e-10
        center_variance = float((center_residuals**2).mean()) + 1e-10 * max(float((b**2).mean()), 1e-12)
        weighted = from_orientations / (2 * angle_variance)
        if moving:
            weighted = weighted + current_scale * from_centers / center_variance
        rotation = nearest_rotation(weighted)
    center_residuals, angles = residuals()
    return CameraAlignment(
        Similarity(current_scale, rotation, target_mean - current_scale * rotation @ source_mean),
        center_error=float(np.sqrt((center_residuals**2).sum(axis=1).mean())),
        rotation_error_degrees=float(np.degrees(np.sqrt((angles**2).mean()))),
    )

"""Brings one set of cameras into the world of another, also where the cameras stand on a line or hardly move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scene.camera import Camera
from scene.rotations import nearest_rotation


@dataclass(frozen=True)
class CameraAlignment:
    """A similarity: target point = scale * rotation @ source point + translation."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray
    #: root mean square of what is left: centres in target units, orientations in degrees
    center_error: float
    rotation_error_degrees: float

    def pose(self, world_from_camera: np.ndarray) -> np.ndarray:
        """A source pose (4x4) in the target world; stays rigid, its centre is scaled."""
        moved = np.eye(4)
        moved[:3, :3] = self.rotation @ world_from_camera[:3, :3]
        moved[:3, 3] = self.scale * self.rotation @ world_from_camera[:3, 3] + self.translation
        return moved


def align_cameras(source: Sequence[Camera], target: Sequence[Camera], *, scale: float | None = None) -> CameraAlignment:
    """The similarity that takes the `source` cameras onto the `target` cameras, pair by pair, by centres and
    orientations together.

    Centres alone (Umeyama, 1991) leave the rotation about a straight path open and say nothing when the camera stands
    still. Here the rotation maximizes the likelihood of both under isotropic noise whose size is estimated from what is
    left, in a few rounds: the weighted correlation of centres and orientations is projected onto the rotations by SVD.
    `scale` fixes the scale, for cameras that do not move; without it, centres that do not move give 1.
    """
    if len(source) != len(target) or not source:
        raise ValueError(f"{len(source)} source cameras for {len(target)} target cameras")
    source_centers = np.array([camera.center for camera in source])
    target_centers = np.array([camera.center for camera in target])
    source_mean, target_mean = source_centers.mean(axis=0), target_centers.mean(axis=0)
    a, b = source_centers - source_mean, target_centers - target_mean
    spread = float((a**2).sum())
    from_orientations = sum(
        there.world_from_camera[:3, :3] @ here.world_from_camera[:3, :3].T
        for here, there in zip(source, target, strict=True)
    )
    from_centers = b.T @ a
    rotation = nearest_rotation(np.asarray(from_orientations))
    current_scale = 1.0
    for _ in range(10):
        moving = spread > 1e-18
        if scale is not None:
            current_scale = scale
        elif moving:
            current_scale = max(float((b * (a @ rotation.T)).sum()) / spread, 1e-12)
        centers_left = b - current_scale * a @ rotation.T
        angles = np.array([_angle(rotation, here, there) for here, there in zip(source, target, strict=True)])
        # a floor keeps one of the two from taking over where both fit perfectly
        angle_variance = float((angles**2).mean()) / 3 + 1e-10
        center_variance = float((centers_left**2).mean()) + 1e-10 * max(float((b**2).mean()), 1e-12)
        weighted = np.asarray(from_orientations) / (2 * angle_variance)
        if moving:
            weighted = weighted + current_scale * from_centers / center_variance
        rotation = nearest_rotation(weighted)
    centers_left = b - current_scale * a @ rotation.T
    angles = np.array([_angle(rotation, here, there) for here, there in zip(source, target, strict=True)])
    return CameraAlignment(
        scale=current_scale,
        rotation=rotation,
        translation=target_mean - current_scale * rotation @ source_mean,
        center_error=float(np.sqrt((centers_left**2).sum(axis=1).mean())),
        rotation_error_degrees=float(np.degrees(np.sqrt((angles**2).mean()))),
    )


def _angle(rotation: np.ndarray, source: Camera, target: Camera) -> float:
    left = rotation @ source.world_from_camera[:3, :3] @ target.world_from_camera[:3, :3].T
    # from the skew part: exact for small angles, where the trace has lost all digits
    sine = 0.5 * np.linalg.norm([left[2, 1] - left[1, 2], left[0, 2] - left[2, 0], left[1, 0] - left[0, 1]])
    return float(np.arctan2(sine, (np.trace(left) - 1) / 2))

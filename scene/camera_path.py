"""Smooth camera paths through the cameras of a clip."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, RotationSpline

from scene.camera import Camera
from scene.rotations import affine_matrix


def interpolated_path(cameras: Sequence[Camera], count: int, *, smoothing: float = 2.0) -> list[Camera]:
    """`count` cameras from the first to the last of `cameras`, evenly spaced in time, with the intrinsics of the first.

    Positions follow a cubic spline, rotations a spline with continuous angular velocity, both through the cameras after
    smoothing with a Gaussian of `smoothing` frames (0: exactly through every camera).
    """
    if not cameras:
        raise ValueError("a path needs at least one camera")
    if len(cameras) == 1:
        return [cameras[0]] * count
    times = np.arange(len(cameras), dtype=np.float64)
    centers = np.stack([camera.center for camera in cameras])
    rotations = Rotation.from_matrix(np.stack([camera.world_from_camera[:3, :3] for camera in cameras]))
    if smoothing > 0:
        centers = gaussian_filter1d(centers, smoothing, axis=0, mode="nearest")
        rotations = _smoothed(rotations, smoothing)
    at = np.linspace(0, len(cameras) - 1, count)
    path_centers = CubicSpline(times, centers)(at)
    path_rotations = RotationSpline(times, rotations)(at).as_matrix()
    return [cameras[0].moved(pose) for pose in affine_matrix(path_rotations, path_centers)]


def _smoothed(rotations: Rotation, smoothing: float) -> Rotation:
    """Gaussian weighted means of neighboring rotations, as normalized means of quaternions with aligned signs."""
    quaternions = rotations.as_quat()
    for index in range(1, len(quaternions)):
        if quaternions[index] @ quaternions[index - 1] < 0:
            quaternions[index] *= -1
    return Rotation.from_quat(gaussian_filter1d(quaternions, smoothing, axis=0, mode="nearest"))

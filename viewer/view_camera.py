"""Cameras of the browser as cameras of the scene."""

import math

import numpy as np

from scene.camera import Camera
from scene.rotations import affine_matrix, rotation_from_quaternion


def camera_of_view(wxyz: np.ndarray, position: np.ndarray, fov: float, width: int, height: int) -> Camera:
    """The camera at `position` with the rotation `wxyz` (world from camera, OpenCV axes) whose image of `width` x
    `height` pixels spans the vertical angle `fov` in radians, as the window does."""
    focal = height / 2 / math.tan(fov / 2)
    pose = affine_matrix(rotation_from_quaternion(np.asarray(wxyz, np.float64)), np.asarray(position, np.float64))
    return Camera(width, height, focal, focal, width / 2, height / 2, pose)


def vertical_angle(camera: Camera) -> float:
    """The vertical angle of view of `camera` in radians."""
    return 2 * math.atan2(camera.height / 2, camera.fy)

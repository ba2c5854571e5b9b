"""Plausible depth for clips without parallax: it cannot be measured, so a simple surface is assumed instead."""

from collections.abc import Sequence

import numpy as np

from scene.camera import Camera

#: radius of the cylinder, and height of the cameras above the ground, in scene units
CYLINDER_RADIUS = 4.0
CAMERA_HEIGHT = 0.8
#: sharpness of the transition between ground and cylinder
_SHARPNESS = 8.0


class PlausibleSurface:
    """A ground plane that passes smoothly into a vertical cylinder around the common center of the cameras.

    The surface is fixed in the world, so that all frames of a rotating camera have consistent depth, and not flat, so
    that views from beside the camera show parallax. "Down" is the mean of the y axes of the cameras.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        down = np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
        length = np.linalg.norm(down)
        # the mean is undefined if the cameras are upside down half of the time; then the first camera is used
        self._down = down / length if length > 1e-3 else cameras[0].world_from_camera[:3, 1]

    def z_depth(self, camera: Camera) -> np.ndarray:
        """(H, W) float32 z depth of the surface, in scene units, in a camera at the common center."""
        u = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
        v = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
        down = self._down @ camera.world_from_camera[:3, :3]
        # components of the rays with z = 1; inverse distances along these rays are inverse z depths
        downward = down[0] * u[None, :] + down[1] * v[:, None] + down[2]
        length = np.sqrt(u[None, :] ** 2 + v[:, None] ** 2 + 1)
        horizontal = np.sqrt(np.maximum(length**2 - downward**2, 0.0))
        ground = np.maximum(downward, 0.0) / CAMERA_HEIGHT
        # the second term, a sphere of twice the radius, keeps the distance finite in vertical directions
        cylinder = np.hypot(horizontal / CYLINDER_RADIUS, 0.5 * length / CYLINDER_RADIUS) / np.sqrt(1.25)
        # a smooth maximum of the inverse distances (their p-norm)
        return ((ground**_SHARPNESS + cylinder**_SHARPNESS) ** (-1 / _SHARPNESS)).astype(np.float32)

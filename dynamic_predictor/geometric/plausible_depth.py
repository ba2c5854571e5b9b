"""Depth for cameras that never move apart: nothing can measure it, so a stage is put up that every frame agrees on."""

from collections.abc import Sequence

import numpy as np

from scene.camera import Camera

#: radius of the round backdrop, and height of the cameras over the ground, in scene units
BACKDROP_RADIUS = 4.0
CAMERA_HEIGHT = 0.8
#: sharpness of the bend between ground and backdrop
_BEND = 8.0


class Stage:
    """A ground plane below the cameras that bends up into a round backdrop, fixed in the world.

    Because it is a surface in the world and not a number per image, frames of a turning camera agree on every point
    of it, and views from a little aside look like a scene rather than like a poster. Down is the mean of the cameras'
    y axes; their common centre is the middle.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        down = np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
        length = np.linalg.norm(down)
        # a camera that turned upside down half of the time has no mean: the first one decides
        self._down = down / length if length > 1e-3 else cameras[0].world_from_camera[:3, 1]

    def z_depth(self, camera: Camera) -> np.ndarray:
        """(H, W) float32 z depth of the stage, seen by a camera in its middle."""
        u = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
        v = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
        down = self._down @ camera.world_from_camera[:3, :3]
        # rays with z = 1, so that z depth is one over the inverse distances along them
        sinking = down[0] * u[None, :] + down[1] * v[:, None] + down[2]
        length = np.sqrt(u[None, :] ** 2 + v[:, None] ** 2 + 1)
        level = np.sqrt(np.maximum(length**2 - sinking**2, 0.0))
        ground = np.maximum(sinking, 0.0) / CAMERA_HEIGHT
        # overhead the backdrop closes to a dome: its inverse distance never falls below that of a sphere twice as wide
        backdrop = np.hypot(level / BACKDROP_RADIUS, 0.5 * length / BACKDROP_RADIUS) / np.sqrt(1.25)
        # the nearer of the two, smoothly (a p-norm of the inverse distances)
        return ((ground**_BEND + backdrop**_BEND) ** (-1 / _BEND)).astype(np.float32)

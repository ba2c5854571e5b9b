"""Renders a single image of Gaussians without gradients. `scene.splat_rendering` is faster for many images."""

import numpy as np
import torch

from gaussian.rasterize import rasterize
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.splat_rendering import Rendering, camera_arguments, rasterizer_arguments, rendering_arrays


def render(gaussians: Gaussians, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
    """Renders at the size of a camera of the world over black, on the device of the Gaussians. `exposure` (3, 2): gain
    and offset per channel; without it the image has the mean exposure of the clip."""
    with torch.no_grad():
        arguments = camera_arguments(camera, gaussians.world_from_local)
        result = rasterize(**rasterizer_arguments(gaussians), **arguments)
    return rendering_arrays(result, gaussians.world_from_local, exposure)

"""Single images of Gaussians by any rasterizer backend, without gradients; `scene.splat_rendering` renders many."""

import numpy as np
import torch

from gaussian.rasterize import rasterize
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.splat_rendering import Rendering, camera_arguments, rasterizer_arguments, rendering_arrays


def render(gaussians: Gaussians, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
    """Renders at the camera's size. `exposure` (3, 2) holds gain and offset per channel; without it the image has the
    clip's mean exposure. Black background."""
    with torch.no_grad():
        result = rasterize(**rasterizer_arguments(gaussians), **camera_arguments(camera))
    return rendering_arrays(result, exposure)

"""Pictures of Gaussians from a camera, without gradients."""

from dataclasses import dataclass

import numpy as np
import torch

from gaussian.model import Gaussians
from gaussian.rasterize import rasterize
from scene.camera import Camera


@dataclass(frozen=True)
class Rendering:
    """What a camera sees of the Gaussians."""

    #: float32 RGB (H, W, 3) in [0, 1]
    image: np.ndarray
    #: float32 (H, W), how much of each pixel is covered
    alpha: np.ndarray
    #: float32 (H, W), expected z depth where alpha is above a half, else 0
    z_depth: np.ndarray


def render(gaussians: Gaussians, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
    """Renders at the camera's size. `exposure` (3, 2) holds gain and offset per channel; without it the picture has
    the clip's mean exposure. Black background."""
    with torch.no_grad():
        result = rasterize(
            gaussians.means,
            gaussians.rotations,
            gaussians.log_scales,
            gaussians.logit_opacities,
            sh_coefficients=gaussians.sh_coefficients,
            camera_from_world=torch.from_numpy(camera.camera_from_world.astype(np.float32)),
            intrinsics=torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy]),
            width=camera.width,
            height=camera.height,
            log_scales=True,
            opacity_logits=True,
        )
    image = result.image.permute(1, 2, 0).cpu().numpy()
    if exposure is not None:
        image = image * exposure[None, None, :, 0] + exposure[None, None, :, 1]
    alpha, depth = result.alpha.cpu().numpy(), result.depth.cpu().numpy()
    z_depth = np.where(alpha > 0.5, depth / np.maximum(alpha, 1e-6), 0.0).astype(np.float32)
    return Rendering(np.clip(image, 0.0, 1.0).astype(np.float32), alpha, z_depth)

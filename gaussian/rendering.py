"""Pictures of Gaussians from a camera, without gradients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gaussian.model import Gaussians
from gaussian.rasterize import prepare, rasterize
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


class Renderer:
    """Pictures of the same Gaussians from many cameras.

    What does not depend on the camera is computed once, and on a CPU harmonics above the constant one are kept in half
    precision: colours differ by some 1e-4 from those of `render`, far below the 1/255 of a picture file.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        """A copy, so that later changes do not show."""
        self._prepared = prepare(**_gaussians(gaussians))

    def render(self, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
        """As `render` in this module."""
        return _as_arrays(self._prepared.render(**_camera(camera)), exposure)


def render(gaussians: Gaussians, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
    """Renders at the camera's size. `exposure` (3, 2) holds gain and offset per channel; without it the picture has
    the clip's mean exposure. Black background."""
    with torch.no_grad():
        result = rasterize(**_gaussians(gaussians), **_camera(camera))
    return _as_arrays(result, exposure)


def _gaussians(gaussians: Gaussians) -> dict[str, Any]:
    return {
        "means": gaussians.means,
        "rotations": gaussians.rotations,
        "scales": gaussians.log_scales,
        "opacities": gaussians.logit_opacities,
        "sh_coefficients": gaussians.sh_coefficients,
        "log_scales": True,
        "opacity_logits": True,
    }


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "camera_from_world": torch.from_numpy(camera.camera_from_world.astype(np.float32)),
        "intrinsics": torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy]),
        "width": camera.width,
        "height": camera.height,
    }


def _as_arrays(result: Any, exposure: np.ndarray | None) -> Rendering:
    """`result`: image, alpha and depth as the rasterizers return them."""
    image = result.image.permute(1, 2, 0).cpu().numpy()
    if exposure is not None:
        image = image * exposure[None, None, :, 0] + exposure[None, None, :, 1]
    alpha, depth = result.alpha.cpu().numpy(), result.depth.cpu().numpy()
    z_depth = np.where(alpha > 0.5, depth / np.maximum(alpha, 1e-6), 0.0).astype(np.float32)
    return Rendering(np.clip(image, 0.0, 1.0).astype(np.float32), alpha, z_depth)

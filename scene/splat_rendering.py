"""Renders Gaussians from many cameras, without gradients, with the kernels in `submodules/`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scene.camera import Camera
from scene.errors import InputError
from scene.gaussians import Gaussians
from scene.local_frame import moved_camera
from scene.similarity import Similarity


@dataclass(frozen=True)
class Rendering:
    """An image of the Gaussians, with coverage and depth."""

    #: float32 RGB (H, W, 3) in [0, 1]
    image: np.ndarray
    #: float32 (H, W), sum of the blending weights
    alpha: np.ndarray
    #: float32 (H, W), expected z depth where alpha is above 0.5, else 0
    z_depth: np.ndarray


class Renderer:
    """Renders the same Gaussians from many cameras.

    Whatever does not depend on the camera is computed once. On a CPU, spherical harmonics above degree 0 are stored in
    half precision: colors differ by about 1e-4 from those of `gaussian.rendering.render`, far less than one step of
    an 8-bit image.
    """

    def __init__(self, gaussians: Gaussians, *, device: str | None = None) -> None:
        """Copies the Gaussians, so that later changes to them have no effect. `device`: "cpu" or "cuda"; by default the
        device of the Gaussians. If our CUDA kernels cannot run here, the CPU renders. Raises `InputError` if the
        kernels are not installed."""
        try:
            from diff_gaussian_rasterization import PreparedGaussians, cuda_device
        except ImportError as error:
            raise InputError(
                f"The rasterizer in submodules/diff-gaussian-rasterization is not installed ({error}); run "
                "'pip install ./submodules/diff-gaussian-rasterization'."
            ) from error
        wanted = torch.device(device or gaussians.device)
        if wanted.type != "cuda" or cuda_device.unavailable_reason() is not None:
            wanted = torch.device("cpu")
        self._prepared = PreparedGaussians(**rasterizer_arguments(gaussians.to(wanted)))
        self._world_from_local = gaussians.world_from_local

    def render(self, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
        """Renders at the size of a camera of the world over black. `exposure` (3, 2): gain and offset per channel;
        without it the image has the mean exposure of the clip."""
        arguments = camera_arguments(camera, self._world_from_local)
        return rendering_arrays(self._prepared.render(**arguments), self._world_from_local, exposure)


def rasterizer_arguments(gaussians: Gaussians) -> dict[str, Any]:
    """The Gaussians, in their local frame, as keyword arguments of the rasterizer."""
    return {
        "means": gaussians.means,
        "rotations": gaussians.rotations,
        "scales": gaussians.log_scales,
        "opacities": gaussians.logit_opacities,
        "sh_coefficients": gaussians.sh_coefficients,
        "log_scales": True,
        "opacity_logits": True,
    }


def camera_arguments(camera: Camera, world_from_local: Similarity) -> dict[str, Any]:
    """A camera of the world as keyword arguments of the rasterizer, in the local frame of the Gaussians: there the near
    plane of the rasterizer suits every scene."""
    camera = moved_camera(camera, world_from_local.inverse())
    return {
        "camera_from_world": torch.from_numpy(camera.camera_from_world.astype(np.float32)),
        "intrinsics": torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy]),
        "width": camera.width,
        "height": camera.height,
    }


def rendering_arrays(result: Any, world_from_local: Similarity, exposure: np.ndarray | None) -> Rendering:
    """The tensors `image`, `alpha` and `depth` of a rasterizer as arrays, with the exposure applied and the depth in
    units of the world."""
    image = result.image.permute(1, 2, 0).cpu().numpy()
    if exposure is not None:
        image = image * exposure[None, None, :, 0] + exposure[None, None, :, 1]
    alpha, depth = result.alpha.cpu().numpy(), result.depth.cpu().numpy()
    z_depth = np.where(alpha > 0.5, depth / np.maximum(alpha, 1e-6), 0.0) * world_from_local.scale
    z_depth = z_depth.astype(np.float32)
    return Rendering(np.clip(image, 0.0, 1.0).astype(np.float32), alpha, z_depth)

"""One rendering and its gradients, for a training loop that has no autograd graph of its own."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaussian.contributions import Survey
from gaussian.rasterize import rasterize
from scene.camera import Camera
from scene.gaussians import SH_CONSTANT, Gaussians


@dataclass
class Rendered:
    """A image with what its gradients need."""

    #: (3, h, w)
    image: Tensor
    #: (h, w) coverage and z depth summed with the blending weights
    alpha: Tensor
    depth: Tensor
    outputs: list[Tensor]
    inputs: dict[str, Tensor]


@dataclass
class CameraGradients:
    """Of a loss, float64."""

    #: (4, 4) of camera_from_world
    camera_from_world: np.ndarray
    #: (4,) of fx, fy, cx, cy, at the size rendered
    intrinsics: np.ndarray


@dataclass
class Gradients:
    """Of a loss, by the names of the tensors of `Gaussians`, and of the camera."""

    gaussians: dict[str, Tensor]
    camera: CameraGradients


def forward(gaussians: Gaussians, camera: Camera, sh_degree: int, background: Tensor | None = None) -> Rendered:
    """Renders at the camera's size with harmonics up to `sh_degree`, over `background` (3,) or black."""
    inputs = {name: tensor.detach().requires_grad_() for name, tensor in gaussians.tensors().items()}
    pose = torch.from_numpy(camera.camera_from_world.astype(np.float32)).requires_grad_()
    intrinsics = torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], dtype=torch.float32, requires_grad=True)
    result = rasterize(
        inputs["means"],
        inputs["rotations"],
        inputs["log_scales"],
        inputs["logit_opacities"],
        sh_coefficients=inputs["sh_coefficients"],
        camera_from_world=pose,
        intrinsics=intrinsics,
        width=camera.width,
        height=camera.height,
        background=background,
        sh_degree=sh_degree,
        log_scales=True,
        opacity_logits=True,
    )
    inputs |= {"camera_from_world": pose, "intrinsics": intrinsics}
    outputs = [result.image, result.alpha, result.depth]
    return Rendered(result.image.detach(), result.alpha.detach(), result.depth.detach(), outputs, inputs)


def backward(
    rendered: Rendered, image_slope: Tensor, alpha_slope: Tensor | None = None, depth_slope: Tensor | None = None
) -> Gradients:
    """Gradients of the loss whose derivatives with respect to image, alpha and depth are given."""
    slopes = [image_slope, alpha_slope, depth_slope]
    used = [(output, slope) for output, slope in zip(rendered.outputs, slopes, strict=True) if slope is not None]
    torch.autograd.backward([output for output, _ in used], [slope for _, slope in used])
    inputs = rendered.inputs

    def gradient(name: str) -> Tensor:
        value = inputs[name].grad
        return torch.zeros_like(inputs[name]) if value is None else value

    return Gradients(
        {name: gradient(name) for name in inputs if name not in ("camera_from_world", "intrinsics")},
        CameraGradients(
            gradient("camera_from_world").numpy().astype(np.float64), gradient("intrinsics").numpy().astype(np.float64)
        ),
    )


def add_to_survey(
    survey: Survey,
    gaussians: Gaussians,
    camera: Camera,
    sh_degree: int,
    static: Tensor,
    target: Tensor,
    pixel_area: float,
) -> None:
    """Adds one image: `static` (h, w) are its static weights, `target` (3, h, w) what it should look like, and
    `pixel_area` how many full-size pixels one of its pixels stands for.

    The gradient of the constant harmonic is that of the colour times a constant, but only where the colour was not cut
    off at zero; so the survey renders all Gaussians in mid grey.
    """
    rendered = forward(gaussians, camera, sh_degree)
    error = (rendered.image - target).abs().mean(dim=0)
    gray = Gaussians(
        gaussians.means,
        gaussians.log_scales,
        gaussians.rotations,
        gaussians.logit_opacities,
        gaussians.means.new_zeros(len(gaussians), 1, 3),
    )
    plain = forward(gray, camera, 0)
    maps = torch.stack([static, torch.ones_like(static), static * error])
    gradients = backward(plain, maps).gaussians["sh_coefficients"]
    survey.add(gradients[:, 0] / SH_CONSTANT, pixel_area)

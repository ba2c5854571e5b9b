"""Renders Gaussians and computes the gradients of a loss whose derivatives with respect to the rendering are given."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaussian.poses import View
from gaussian.rasterize import rasterize
from scene.gaussians import Gaussians


@dataclass
class Rendered:
    """A rendering with its autograd graph."""

    #: (3, h, w), part of the graph like `alpha` and `depth`
    image: Tensor
    #: (h, w) sum of the blending weights
    alpha: Tensor
    #: (h, w) sum of blending weight times z depth
    depth: Tensor
    #: leaves of the graph: the tensors of `Gaussians` by name, `camera_from_world` and `intrinsics`
    inputs: dict[str, Tensor]


@dataclass
class CameraGradients:
    """Gradients of a loss with respect to a camera, float64."""

    #: (4, 4)
    camera_from_world: np.ndarray
    #: (4,) of fx, fy, cx, cy at the rendered size
    intrinsics: np.ndarray


@dataclass
class Gradients:
    """Gradients of a loss with respect to the tensors of `Gaussians`, by name, and to the camera."""

    gaussians: dict[str, Tensor]
    camera: CameraGradients


def forward(gaussians: Gaussians, view: View, sh_degree: int, background: Tensor | None = None) -> Rendered:
    """Renders at the size of the view with spherical harmonics up to `sh_degree`, over `background` (3,) or black."""
    inputs = {name: tensor.detach().requires_grad_() for name, tensor in gaussians.tensors().items()}
    inputs["camera_from_world"] = view.camera_from_world.detach().requires_grad_()
    inputs["intrinsics"] = torch.tensor(view.intrinsics, dtype=torch.float32, requires_grad=True)
    result = rasterize(
        inputs["means"],
        inputs["rotations"],
        inputs["log_scales"],
        inputs["logit_opacities"],
        sh_coefficients=inputs["sh_coefficients"],
        camera_from_world=inputs["camera_from_world"],
        intrinsics=inputs["intrinsics"],
        width=view.width,
        height=view.height,
        background=background,
        sh_degree=sh_degree,
        log_scales=True,
        opacity_logits=True,
    )
    return Rendered(result.image, result.alpha, result.depth, inputs)


def backward(
    rendered: Rendered,
    image_gradient: Tensor,
    alpha_gradient: Tensor | None = None,
    depth_gradient: Tensor | None = None,
) -> Gradients:
    """Gradients of the loss whose gradients with respect to image, alpha and depth are given; None stands for zero."""
    outputs = (rendered.image, rendered.alpha, rendered.depth)
    given = (image_gradient, alpha_gradient, depth_gradient)
    used = [(output, gradient) for output, gradient in zip(outputs, given, strict=True) if gradient is not None]
    torch.autograd.backward([output for output, _ in used], [gradient for _, gradient in used])
    gradients = {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in rendered.inputs.items()
    }
    pose, intrinsics = (gradients.pop(name) for name in ("camera_from_world", "intrinsics"))
    return Gradients(gradients, CameraGradients(pose.numpy().astype(np.float64), intrinsics.numpy().astype(np.float64)))

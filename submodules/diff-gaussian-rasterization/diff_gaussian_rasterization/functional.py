"""The native interface to the kernels: one differentiable function of torch tensors, on the CPU or a GPU."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from diff_gaussian_rasterization import cuda_device, structs
from diff_gaussian_rasterization.checks import (
    camera_tensor,
    check_gaussian,
    check_means,
    check_positive,
    check_sh,
    check_size,
)
from diff_gaussian_rasterization.cpu_rendering import CpuRendering
from diff_gaussian_rasterization.cuda_rendering import CudaRendering
from diff_gaussian_rasterization.structs import RasterSettings


class Rendering(NamedTuple):
    """The result of `rasterize`."""

    #: (3, H, W) float32, over the background
    image: torch.Tensor
    #: (H, W) sum of the compositing weights, 1 - transmittance
    alpha: torch.Tensor
    #: (H, W) sum of weight * z; divide by alpha for the expected depth
    depth: torch.Tensor
    #: (N,) int32, three standard deviations in pixels, rounded up; 0 for Gaussians that touch no pixel
    radii: torch.Tensor


def rasterize(
    means: torch.Tensor,  # (N, 3) world
    rotations: torch.Tensor | None = None,  # (N, 4) quaternions wxyz, any length
    scales: torch.Tensor | None = None,  # (N, 3)
    opacities: torch.Tensor | None = None,  # (N,) or (N, 1)
    *,
    sh_coefficients: torch.Tensor | None = None,  # (N, K, 3)
    colors: torch.Tensor | None = None,  # (N, 3)
    covariances: torch.Tensor | None = None,  # (N, 3, 3) or (N, 6) xx xy xz yy yz zz
    camera_from_world: torch.Tensor,  # (4, 4)
    intrinsics: torch.Tensor | Sequence[float],  # fx, fy, cx, cy in pixels
    width: int,
    height: int,
    background: torch.Tensor | Sequence[float] | None = None,  # (3,), default black
    sh_degree: int | None = None,
    near_plane: float = 0.01,
    screen_means: torch.Tensor | None = None,  # (N, 2)
    scale_modifier: float = 1.0,
    antialiased: bool = False,
    inverse_depth: bool = False,
    log_scales: bool = False,
    opacity_logits: bool = False,
) -> Rendering:
    """Renders Gaussians, differentiably: 3D Gaussian Splatting (Kerbl et al. 2023).

    Takes either `rotations` and `scales`, or `covariances`; either `sh_coefficients` or `colors`. Tensors are float32,
    with any strides, all on the CPU or on one GPU; camera and background may also be on the CPU. Memory that is
    contiguous over Gaussians ((3, N).T instead of (N, 3)) is fastest.

    `screen_means` are offsets in pixels that are added to the projected centers. Pass zeros that require a gradient to
    get the gradient to the screen positions, which densification needs. With `log_scales`, `scales` are logarithms;
    with `opacity_logits`, `opacities` are logits; the kernels then compute the activations and their gradients.
    `antialiased` reduces opacities to compensate for the dilation of 0.3 square pixels (Mip-Splatting, Yu et al. 2024).
    Gaussians with z at most `near_plane` are culled. With `inverse_depth` the depth is the sum of weight / z.

    Every tensor that requires a gradient gets one, including `camera_from_world` (each of its numbers as an independent
    variable, with the camera center -R^T t), `intrinsics` and `background`.

    Raises ValueError for a wrong shape, type or device, and for settings out of range.
    """
    count, where = check_means("means", means)
    if opacities is None:
        raise ValueError("opacities are missing: pass a tensor of shape (N,)")
    if opacities.ndim == 2 and opacities.shape[1] == 1:
        opacities = opacities[:, 0]
    check_gaussian("opacities", opacities, (), count, where)
    if covariances is not None:
        if rotations is not None or scales is not None:
            raise ValueError("pass either covariances or rotations and scales, not both")
        if covariances.ndim == 3:
            check_gaussian("covariances", covariances, (3, 3), count, where)
            whole = 0.5 * (covariances + covariances.transpose(1, 2))
            upper = torch.triu_indices(3, 3)
            covariances = whole[:, upper[0], upper[1]]
        check_gaussian("covariances", covariances, (6,), count, where)
    elif rotations is None or scales is None:
        raise ValueError("pass rotations and scales, or covariances")
    else:
        check_gaussian("rotations", rotations, (4,), count, where)
        check_gaussian("scales", scales, (3,), count, where)
    if (sh_coefficients is None) == (colors is None):
        raise ValueError("pass exactly one of sh_coefficients and colors")
    degree = 0
    if colors is not None:
        check_gaussian("colors", colors, (3,), count, where)
    if sh_coefficients is not None:
        degree = check_sh(sh_coefficients, sh_degree, count, where)
    if screen_means is not None:
        check_gaussian("screen_means", screen_means, (2,), count, where)
    check_size(width, height)
    check_positive("near_plane", near_plane)
    check_positive("scale_modifier", scale_modifier)
    pose = camera_tensor("camera_from_world", camera_from_world, (4, 4), where)
    calibration = camera_tensor("intrinsics", intrinsics, (4,), where)
    behind = camera_tensor("background", (0.0, 0.0, 0.0) if background is None else background, (3,), where)
    flags = structs.CENTER_FROM_POSE
    flags |= structs.ANTIALIASED * antialiased | structs.INVERSE_DEPTH * inverse_depth
    flags |= structs.LOG_SCALES * log_scales | structs.OPACITY_LOGITS * opacity_logits
    settings = RasterSettings(int(width), int(height), degree, flags, float(near_plane), float(scale_modifier))
    gaussians = (means, rotations, scales, opacities, sh_coefficients, colors, covariances, screen_means)
    return render(settings, gaussians, (pose, calibration, behind))


def render(
    settings: RasterSettings, gaussians: Sequence[torch.Tensor | None], camera: Sequence[torch.Tensor]
) -> Rendering:
    """Renders checked tensors: `gaussians` in the order of GAUSSIAN_FIELDS, `camera` pose, intrinsics, background."""
    tensors = [*gaussians, *camera]
    if not torch.is_grad_enabled():
        # autograd would keep memory for a backward pass, because it looks only at the tensors
        tensors = [None if tensor is None else tensor.detach() for tensor in tensors]
    device = cuda_device.device_for(gaussians[0].device)  # type: ignore[union-attr]
    return Rendering(*Rasterize.apply(settings, device, *tensors))  # pyright: ignore[reportGeneralTypeIssues]


class Rasterize(torch.autograd.Function):
    """`render` for autograd: settings, device, the eight tensors of GAUSSIAN_FIELDS, then the three of the camera."""

    @staticmethod
    def forward(ctx, settings: RasterSettings, device: cuda_device.Device | None, *tensors):
        gaussians, camera = tensors[:8], tensors[8:]
        needs_gradient = any(ctx.needs_input_grad)
        if needs_gradient:
            settings = settings._replace(flags=settings.flags | structs.SAVE_STATES)
        rendering = CpuRendering(settings) if device is None else CudaRendering(settings, device)
        outputs, saved = rendering.forward(gaussians, camera)
        if needs_gradient:
            ctx.save_for_backward(*gaussians, *outputs, *saved)
            ctx.rendering, ctx.camera_devices = rendering, [tensor.device for tensor in camera]
        ctx.mark_non_differentiable(outputs[3])
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *output_gradients):
        gaussians, outputs, saved = ctx.saved_tensors[:8], ctx.saved_tensors[8:12], ctx.saved_tensors[12:]
        rendering, settings, needs = ctx.rendering, ctx.rendering.settings, ctx.needs_input_grad[2:]
        d_outputs = [None if gradient is None else gradient.contiguous() for gradient in output_gradients[:3]]
        gradients = _empty_gradients(settings, gaussians, needs)
        d_camera = rendering.backward(
            gaussians, outputs, saved, d_outputs, gradients, needs_camera=needs[8] or needs[9]
        )
        if settings.screen_in_ndc and gradients[7] is not None:
            gradients[7][:, 0] *= 0.5 * settings.width
            gradients[7][:, 1] *= 0.5 * settings.height
        d_pose = d_intrinsics = d_background = None
        pose_device, intrinsics_device, background_device = ctx.camera_devices
        if d_camera is not None:
            if not pose_device == intrinsics_device == d_camera.device:
                d_camera = d_camera.to(pose_device)
            d_pose = torch.zeros(4, 4, device=pose_device)
            d_pose[:3] = d_camera[:12].view(3, 4)
            d_intrinsics = d_camera[12:].to(intrinsics_device, torch.float32)
        if needs[10] and d_outputs[0] is not None:
            d_background = (d_outputs[0] * (1.0 - outputs[1])).sum((1, 2)).to(background_device)
        return None, None, *gradients, d_pose, d_intrinsics, d_background


def _empty_gradients(
    settings: RasterSettings, gaussians: Sequence[torch.Tensor | None], needs: Sequence[bool]
) -> list[torch.Tensor | None]:
    """Tensors for the gradients that are needed, with the strides of the inputs.

    Zeros where the kernels do not write every element: unused spherical harmonics coefficients, and the further
    components of the screen positions of the drop-in interface.
    """
    gradients: list[torch.Tensor | None] = []
    for name, tensor, needed in zip(structs.GAUSSIAN_FIELDS, gaussians, needs, strict=False):
        if tensor is None or not needed:
            gradients.append(None)
            continue
        partly = name == "sh" and (settings.sh_degree + 1) ** 2 < tensor.shape[1]
        partly |= name == "screen_means" and settings.screen_in_ndc
        gradients.append(torch.zeros_like(tensor) if partly else torch.empty_like(tensor))
    return gradients

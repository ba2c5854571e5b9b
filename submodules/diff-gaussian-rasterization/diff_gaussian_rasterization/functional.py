"""Our own interface to the kernels: one differentiable function over torch tensors, on the CPU or on a GPU."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from diff_gaussian_rasterization import _library, cuda_device
from diff_gaussian_rasterization._library import Frame, GradientsStruct, OutputsStruct, SceneStruct, pointer, strided
from diff_gaussian_rasterization.checks import (
    camera_tensor,
    check_gaussian,
    check_harmonics,
    check_means,
    check_positive,
    check_size,
)
from diff_gaussian_rasterization.cuda_functional import CudaRasterize

_NAMES = ("means", "rotations", "scales", "opacities", "sh", "colors", "covariances", "screen_means")


class Rendering(NamedTuple):
    """What `rasterize` returns."""

    #: (3, H, W) float32, background composited in
    image: torch.Tensor
    #: (H, W) sum of the compositing weights, 1 - transmittance
    alpha: torch.Tensor
    #: (H, W) sum of weight * z; divide by alpha for the expected depth
    depth: torch.Tensor
    #: (N,) int32, three standard deviations in pixels rounded up; 0 = not on the screen
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
    """Render Gaussians and get gradients to everything: 3D Gaussian Splatting (Kerbl et al. 2023).

    Either `rotations` and `scales`, or `covariances`; either `sh_coefficients` or `colors`. Tensors are float32 on
    the CPU or on one GPU with any strides; memory that is contiguous over Gaussians ((3, N).T rather than (N, 3)) is
    fastest. Camera and background may be on either.

    `screen_means` are offsets in pixels that are added to the projected centres. Pass zeros that require a gradient
    to get the gradient to the centres on the screen, which densification needs. `log_scales` and `opacity_logits`
    say that `scales` are logarithms and `opacities` logits; the activations and their gradients are then computed in
    the kernels. `antialiased` scales opacities by what the dilation of 0.3 square pixels adds (Mip-Splatting, Yu et
    al. 2024). Gaussians nearer than `near_plane` are left out. With `inverse_depth` the depth of the result is the
    sum of weight / z.

    Gradients go to every tensor that requires one, also to `camera_from_world` (as a free matrix; the camera centre
    is taken as -R^T t), `intrinsics` and `background`.

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
        degree = check_harmonics(sh_coefficients, sh_degree, count, where)
    if screen_means is not None:
        check_gaussian("screen_means", screen_means, (2,), count, where)
    check_size(width, height)
    check_positive("near_plane", near_plane)
    check_positive("scale_modifier", scale_modifier)
    pose = camera_tensor("camera_from_world", camera_from_world, (4, 4), where)
    calibration = camera_tensor("intrinsics", intrinsics, (4,), where)
    back = camera_tensor("background", (0.0, 0.0, 0.0) if background is None else background, (3,), where)
    flags = _library.CENTER_FROM_POSE
    flags |= _library.ANTIALIASED * antialiased | _library.INVERSE_DEPTH * inverse_depth
    flags |= _library.LOG_SCALES * log_scales | _library.OPACITY_LOGITS * opacity_logits
    settings = _Settings(int(width), int(height), degree, flags, float(near_plane), float(scale_modifier))
    return Rendering(
        *_implementation(where)(
            settings, means, rotations, scales, opacities, sh_coefficients, colors, covariances, screen_means, pose,
            calibration, back,
        )
    )  # fmt: skip


def project_gradient_in_ndc(
    means: torch.Tensor,
    means2d: torch.Tensor | None,
    rotations: torch.Tensor | None,
    scales: torch.Tensor | None,
    opacities: torch.Tensor,
    sh: torch.Tensor | None,
    colors: torch.Tensor | None,
    covariances: torch.Tensor | None,
    *,
    camera: tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[float, float, float] | None],
    settings: "_Settings",
) -> Rendering:
    """The route of the drop-in interface: `means2d` (N, 3) is only a handle whose gradient comes in units of half
    the image, and the camera centre may be given. `camera` = pose (4, 4), intrinsics (4,), background (3,), centre."""
    pose, calibration, back, center = camera
    settings = settings._replace(center=center, screen_in_ndc=True)
    return Rendering(
        *_implementation(means.device)(
            settings, means, rotations, scales, opacities, sh, colors, covariances, means2d, pose, calibration, back
        )
    )


class _Settings(NamedTuple):
    width: int
    height: int
    sh_degree: int
    flags: int
    near_plane: float
    scale_modifier: float
    center: tuple[float, float, float] | None = None
    screen_in_ndc: bool = False


def _implementation(where: torch.device) -> Callable[..., Any]:
    """The differentiable function for tensors there."""
    device = cuda_device.device_for(where)
    function = _Rasterize.apply if device is None else partial(CudaRasterize.apply, device)
    if torch.is_grad_enabled():
        return function
    # autograd asks of the tensors alone whether a backward pass may follow, and much would be kept for it
    return lambda settings, *tensors: function(settings, *(None if t is None else t.detach() for t in tensors))


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        settings,
        means,
        rotations,
        scales,
        opacities,
        sh,
        colors,
        covariances,
        screen_means,
        pose,
        intrinsics,
        back,
    ):
        gaussians = (means, rotations, scales, opacities, sh, colors, covariances, screen_means)
        width, height = settings.width, settings.height
        image = torch.empty((3, height, width))
        alpha = torch.empty((height, width))
        depth = torch.empty((height, width))
        radii = torch.empty(len(means), dtype=torch.int32)
        wanted = any(ctx.needs_input_grad)
        settings = settings._replace(flags=settings.flags | _library.SAVE_STATES * wanted)
        scene = _scene(settings, gaussians, pose, intrinsics, back)
        frame = Frame()
        frame.forward(scene, OutputsStruct(pointer(image), pointer(alpha), pointer(depth), pointer(radii)))
        if wanted:
            ctx.save_for_backward(*gaussians, pose, intrinsics, back, image, alpha, depth)
            ctx.settings, ctx.frame = settings, frame
        else:
            frame.keep_statistics()
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        return image, alpha, depth, radii

    @staticmethod
    @once_differentiable
    def backward(ctx, d_image, d_alpha, d_depth, _):
        saved = ctx.saved_tensors
        gaussians, (pose, intrinsics, back, image, alpha, depth) = saved[:8], saved[8:]
        settings, frame = ctx.settings, ctx.frame
        needs = ctx.needs_input_grad[1:]
        # the kernels write every element but those of unused SH coefficients and of the third screen component
        partly = {4: (settings.sh_degree + 1) ** 2 < (0 if gaussians[4] is None else gaussians[4].shape[1])}
        partly[7] = settings.screen_in_ndc
        grads: list[torch.Tensor | None] = [None] * 8
        for k in range(8):
            if needs[k] and gaussians[k] is not None:
                grads[k] = torch.zeros_like(gaussians[k]) if partly.get(k) else torch.empty_like(gaussians[k])
        wants_camera = needs[8] or needs[9]
        if wants_camera:
            settings = settings._replace(flags=settings.flags | _library.CAMERA_GRADIENT)
        camera = torch.zeros(16, dtype=torch.float64)
        d_image, d_alpha, d_depth = (None if d is None else d.contiguous() for d in (d_image, d_alpha, d_depth))
        gradients = GradientsStruct(
            pointer(d_image), pointer(d_alpha), pointer(d_depth), *map(strided, grads), None, pointer(camera)
        )
        scene = _scene(settings, gaussians, pose, intrinsics, back)
        frame.backward(scene, OutputsStruct(pointer(image), pointer(alpha), pointer(depth), None), gradients)
        frame.keep_statistics()
        if settings.screen_in_ndc and grads[7] is not None:
            grads[7][:, 0] *= 0.5 * settings.width
            grads[7][:, 1] *= 0.5 * settings.height
        d_pose = d_intrinsics = d_back = None
        if wants_camera:
            d_pose = torch.zeros(4, 4)
            d_pose[:3] = camera[:12].view(3, 4)
            d_intrinsics = camera[12:].float()
        if needs[10] and d_image is not None:
            d_back = (d_image * (1.0 - alpha)).sum((1, 2))
        return None, *(g if n else None for g, n in zip(grads, needs[:8], strict=True)), d_pose, d_intrinsics, d_back


def _scene(settings: _Settings, gaussians: Sequence[torch.Tensor | None], pose, intrinsics, back) -> SceneStruct:
    rows = pose.tolist()
    rotation = [rows[i][j] for i in range(3) for j in range(3)]
    translation = [rows[i][3] for i in range(3)]
    center, flags = settings.center, settings.flags
    if center is None:
        center = [-sum(rows[i][j] * rows[i][3] for i in range(3)) for j in range(3)]
    else:
        flags &= ~_library.CENTER_FROM_POSE
    tensors = list(gaussians)
    if settings.screen_in_ndc:
        tensors[7] = None
    return SceneStruct(
        len(gaussians[0]),  # type: ignore[arg-type]
        settings.width,
        settings.height,
        settings.sh_degree,
        flags,
        (_library.c_float * 9)(*rotation),
        (_library.c_float * 3)(*translation),
        *intrinsics.tolist(),
        settings.near_plane,
        settings.scale_modifier,
        (_library.c_float * 3)(*center),
        (_library.c_float * 3)(*back.tolist()),
        *map(strided, tensors),
    )

"""The differentiable function over tensors on a GPU; `functional.rasterize` comes here for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.autograd.function import once_differentiable

from diff_gaussian_rasterization import cuda_structs as structs
from diff_gaussian_rasterization.cuda_device import Device
from diff_gaussian_rasterization.cuda_frame import CudaFrame, Shape

if TYPE_CHECKING:
    from diff_gaussian_rasterization.functional import _Settings


def packed_view(
    device: torch.device,
    pose: torch.Tensor,  # (4, 4)
    intrinsics: torch.Tensor,  # (4,)
    back: torch.Tensor,  # (3,)
    center: Sequence[float] | None = None,
) -> torch.Tensor:
    """The View of frame.cuh, (28,) float32 on `device`, with learning rates of 0: one copy without waiting where the
    camera is on the host, and none where it is on the device already."""
    pieces = [pose.detach()[:3, :3].reshape(-1), pose.detach()[:3, 3], intrinsics.detach(), back.detach()]
    on_host = all(piece.device.type == "cpu" for piece in pieces)
    where = torch.device("cpu") if on_host else device
    # made where they belong: a graph that is recorded may not copy from the host
    nothing = torch.zeros(9, dtype=torch.float32, device=where)
    pieces += [
        nothing[:3] if center is None else torch.tensor([*center], dtype=torch.float32, device=where),
        nothing[3:],
    ]
    view = torch.cat([piece.to(where, torch.float32, non_blocking=True) for piece in pieces])
    return view if where == device else view.pin_memory().to(device, non_blocking=True)


class CudaRasterize(torch.autograd.Function):
    """Like the function for CPUs, with the device in front of its arguments."""

    @staticmethod
    def forward(
        ctx,
        device: Device,
        settings: "_Settings",
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
        flags = settings.flags
        if settings.center is not None:
            flags &= ~structs.CENTER_FROM_POSE
        wants_gradient = any(ctx.needs_input_grad)
        if wants_gradient:
            flags |= structs.SAVE_STATES
        frame = CudaFrame(device, Shape(len(means), settings.width, settings.height))
        view = packed_view(device.torch_device, pose, intrinsics, back, settings.center)
        read = gaussians if not settings.screen_in_ndc else (*gaussians[:7], None)
        outputs = frame.forward(
            view,
            read,
            sh_degree=settings.sh_degree,
            flags=flags,
            near_plane=settings.near_plane,
            scale_modifier=settings.scale_modifier,
        )
        if wants_gradient:
            # the frame keeps addresses: autograd sees to it that nobody changes what they point to
            ctx.save_for_backward(*gaussians, outputs.image, outputs.alpha, outputs.depth, outputs.radii, view)
            ctx.settings, ctx.frame = settings, frame
            ctx.camera_devices = pose.device, intrinsics.device, back.device
        ctx.mark_non_differentiable(outputs.radii)
        ctx.set_materialize_grads(False)
        return outputs.image, outputs.alpha, outputs.depth, outputs.radii

    @staticmethod
    @once_differentiable
    def backward(ctx, d_image, d_alpha, d_depth, _):
        gaussians, alpha = ctx.saved_tensors[:8], ctx.saved_tensors[9]
        settings, frame = ctx.settings, ctx.frame
        needs = ctx.needs_input_grad[2:]
        # the kernels write every element but those of unused SH coefficients and of the third screen component
        partly = {4: (settings.sh_degree + 1) ** 2 < (0 if gaussians[4] is None else gaussians[4].shape[1])}
        partly[7] = settings.screen_in_ndc
        grads: list[torch.Tensor | None] = [None] * 8
        for k in range(8):
            if needs[k] and gaussians[k] is not None:
                grads[k] = torch.zeros_like(gaussians[k]) if partly.get(k) else torch.empty_like(gaussians[k])
        camera = None
        if needs[8] or needs[9]:
            camera = torch.empty(16, device=frame.device.torch_device)
        slopes = [None if d is None else d.contiguous() for d in (d_image, d_alpha, d_depth)]
        frame.backward(slopes, grads, camera=camera)
        if settings.screen_in_ndc and grads[7] is not None:
            grads[7][:, 0] *= 0.5 * settings.width
            grads[7][:, 1] *= 0.5 * settings.height
        d_pose = d_intrinsics = d_back = None
        pose_device, intrinsics_device, back_device = ctx.camera_devices
        if camera is not None:
            camera = camera if pose_device == intrinsics_device == camera.device else camera.to(pose_device)
            d_pose = torch.zeros(4, 4, device=pose_device)
            d_pose[:3] = camera[:12].view(3, 4)
            d_intrinsics = camera[12:].to(intrinsics_device)
        if needs[10] and slopes[0] is not None:
            d_back = (slopes[0] * (1.0 - alpha)).sum((1, 2)).to(back_device)
        found = (gradient if need else None for gradient, need in zip(grads, needs[:8], strict=True))
        return None, None, *found, d_pose, d_intrinsics, d_back

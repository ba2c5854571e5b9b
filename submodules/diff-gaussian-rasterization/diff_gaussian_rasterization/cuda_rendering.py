"""One rendering by the CUDA kernels and its backward pass, for `functional.rasterize`."""

from collections.abc import Sequence

import torch

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization.cuda_device import Device
from diff_gaussian_rasterization.cuda_frame import CudaFrame, Shape
from diff_gaussian_rasterization.structs import RasterSettings


def packed_view(
    device: torch.device,
    pose: torch.Tensor,  # (4, 4)
    intrinsics: torch.Tensor,  # (4,)
    background: torch.Tensor,  # (3,)
    center: Sequence[float] | None = None,
) -> torch.Tensor:
    """The struct View of frame.cuh as (28,) float32 on `device`, with learning rates of 0.

    A camera on the host is copied in one asynchronous transfer; a camera on the device is not copied to the host.
    """
    pieces = [pose.detach()[:3, :3].reshape(-1), pose.detach()[:3, 3], intrinsics.detach(), background.detach()]
    on_host = all(piece.device.type == "cpu" for piece in pieces)
    where = torch.device("cpu") if on_host else device
    # created on that device, because a CUDA graph under recording may not copy from the host
    zeros = torch.zeros(9, dtype=torch.float32, device=where)
    pieces += [zeros[:3] if center is None else torch.tensor([*center], dtype=torch.float32, device=where), zeros[3:]]
    view = torch.cat([piece.to(where, torch.float32, non_blocking=True) for piece in pieces])
    return view if where == device else view.pin_memory().to(device, non_blocking=True)


class CudaRendering:
    """The settings and the frame of one rendering; `cpu_rendering.CpuRendering` describes the methods."""

    def __init__(self, settings: RasterSettings, device: Device) -> None:
        self.settings, self._device = settings, device

    def forward(
        self, gaussians: Sequence[torch.Tensor | None], camera: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        settings = self.settings
        flags = settings.flags if settings.center is None else settings.flags & ~structs.CENTER_FROM_POSE
        count = len(gaussians[0])  # type: ignore[arg-type]
        self._frame = CudaFrame(self._device, Shape(count, settings.width, settings.height))
        pose, intrinsics, background = camera
        view = packed_view(self._device.torch_device, pose, intrinsics, background, settings.center)
        outputs = self._frame.forward(
            view,
            [*gaussians[:7], None] if settings.screen_in_ndc else gaussians,
            sh_degree=settings.sh_degree,
            flags=flags,
            near_plane=settings.near_plane,
            scale_modifier=settings.scale_modifier,
        )
        return [outputs.image, outputs.alpha, outputs.depth, outputs.radii], [view]

    def backward(
        self,
        gaussians: Sequence[torch.Tensor | None],
        outputs: Sequence[torch.Tensor],
        saved: Sequence[torch.Tensor],
        output_gradients: Sequence[torch.Tensor | None],
        gradients: Sequence[torch.Tensor | None],
        *,
        needs_camera: bool,
    ) -> torch.Tensor | None:
        # the frame has the addresses of gaussians, outputs and saved, which autograd keeps alive and unchanged
        d_camera = torch.empty(16, device=self._device.torch_device) if needs_camera else None
        self._frame.backward(output_gradients, gradients, camera=d_camera)
        return d_camera

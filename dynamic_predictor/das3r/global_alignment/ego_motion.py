"""Optical flow that the camera's own motion gives a still world, and checks of flows against each other."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid

_GUARD = 1e-6


def ego_flow(z_depth: Tensor, target_from_source: Tensor, pixels: PixelGrid) -> Tensor:
    """Flows (B, 2, H, W) in pixels of still worlds at depths (B, H, W). `target_from_source` (B, 3, 4) takes a
    homogeneous pixel of the source, and the inverse depth, to a homogeneous pixel of the target."""
    inverse_depth = 1.0 / (z_depth.flatten(1)[:, None] + _GUARD)
    seen = target_from_source[..., :3] @ pixels.homogeneous + target_from_source[..., 3:] * inverse_depth
    flow = seen[:, :2] / (seen[:, 2:] + _GUARD) - pixels.homogeneous[:2]
    return flow.reshape(len(z_depth), 2, *z_depth.shape[1:])


def pixel_transfer(
    source_intrinsics: Tensor, target_intrinsics: Tensor, source_pose: Tensor, target_pose: Tensor
) -> Tensor:
    """The matrices (B, 3, 4) that `ego_flow` wants, of intrinsics (B, 3, 3) and world_from_camera (B, 4, 4)."""
    back = target_intrinsics @ target_pose[:, :3, :3].transpose(1, 2)
    infinity = back @ source_pose[:, :3, :3] @ torch.linalg.inv(source_intrinsics)
    parallax = back @ (source_pose[:, :3, 3:] - target_pose[:, :3, 3:])
    return torch.cat([infinity, parallax], dim=-1)


def sample_at_flow(maps: Tensor, flow: Tensor) -> Tensor:
    """Maps (B, C, H, W) of the target where flows (B, 2, H, W) from the source lead, bilinear, 0 outside."""
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    places = torch.stack([2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0], dim=-1)
    return functional.grid_sample(maps, places, align_corners=True)


def consistent_flow(there: Tensor, back: Tensor, *, tolerance: float = 3.0, strict_official: bool = False) -> Tensor:
    """Where (B, H, W) going along flows `there` (B, 2, H, W) and back along `back` ends within `tolerance` pixels of
    the start and stays inside the image. With `strict_official` the error is the sum of both coordinates' errors,
    which may cancel, as in MonST3R's code."""
    height, width = there.shape[2:]
    x = torch.arange(width, dtype=there.dtype, device=there.device) + there[:, 0]
    y = torch.arange(height, dtype=there.dtype, device=there.device)[:, None] + there[:, 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    error = there + sample_at_flow(back, there)
    distance = error.sum(dim=1).abs() if strict_official else torch.hypot(error[:, 0], error[:, 1])
    return inside & (distance < tolerance)

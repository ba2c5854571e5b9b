"""Ego flow, the optical flow that camera motion alone causes in a static world, and the forward-backward check."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid

#: added to depths and homogeneous coordinates before dividing by them, as in the official code
GUARD = 1e-6


def ego_flow(z_depth: Tensor, target_from_source: Tensor, pixels: PixelGrid) -> Tensor:
    """Flows (B, 2, ...) in pixels of static scenes with depths `z_depth`, (B, H, W) or (B, H*W). `target_from_source`
    (B, 3, 4) maps homogeneous source pixels, with the inverse depth as fourth coordinate, to target pixels."""
    inverse_depth = 1.0 / (z_depth.flatten(1)[:, None] + GUARD)
    seen = target_from_source[..., :3] @ pixels.homogeneous + target_from_source[..., 3:] * inverse_depth
    flow = seen[:, :2] / (seen[:, 2:] + GUARD) - pixels.homogeneous[:2]
    return flow.reshape(len(z_depth), 2, *z_depth.shape[1:])


def pixel_transfer(
    inverse_source_intrinsics: Tensor, target_intrinsics: Tensor, source_pose: Tensor, target_pose: Tensor
) -> Tensor:
    """`target_from_source` (B, 3, 4) of `ego_flow` from intrinsics (B, 3, 3) and world_from_camera (B, 4, 4)."""
    pixel_from_world = target_intrinsics @ target_pose[:, :3, :3].transpose(1, 2)
    infinity = pixel_from_world @ source_pose[:, :3, :3] @ inverse_source_intrinsics
    parallax = pixel_from_world @ (source_pose[:, :3, 3:] - target_pose[:, :3, 3:])
    return torch.cat([infinity, parallax], dim=-1)


def sample_at_flow(maps: Tensor, flow: Tensor) -> Tensor:
    """Target maps (B, C, H, W), bilinearly sampled at the ends of `flow` (B, 2, H, W) from the source; 0 outside."""
    height, width = flow.shape[2:]
    x, y = _flow_ends(flow)
    places = torch.stack([2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0], dim=-1)
    return functional.grid_sample(maps, places, align_corners=True)


def consistent_flow(forward: Tensor, backward: Tensor) -> Tensor:
    """The forward-backward check: true (B, H, W) where following the flow `forward` (B, 2, H, W) and then `backward`
    stays inside the image and ends within 3 pixels of the start."""
    error, inside = round_trip_error(forward, backward)
    return inside & (torch.hypot(error[:, 0], error[:, 1]) < 3.0)


def round_trip_error(forward: Tensor, backward: Tensor) -> tuple[Tensor, Tensor]:
    """The displacement (B, 2, H, W) after `forward` and `backward`, and where (B, H, W) `forward` stays inside."""
    height, width = forward.shape[2:]
    x, y = _flow_ends(forward)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return forward + sample_at_flow(backward, forward), inside


def _flow_ends(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows (B, H, W) where flows (B, 2, H, W) end."""
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    return x, y

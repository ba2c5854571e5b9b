"""Regularization terms of global alignment: smooth camera paths, and depth maps near their initial shape."""

import torch
from torch import Tensor


def camera_smoothness(world_from_camera: Tensor, translation_weight: float) -> Tensor:
    """The sum of |R - I| (Frobenius norm) + `translation_weight` |t| over the relative poses (R, t) of successive
    frames (Zhang et al., "MonST3R", ICLR 2025, section 3.3); poses are (N, 4, 4)."""
    rotation, center = world_from_camera[:, :3, :3], world_from_camera[:, :3, 3]
    camera_from_world = rotation[:-1].transpose(1, 2)
    turn = camera_from_world @ rotation[1:] - torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    step = (camera_from_world @ (center[1:] - center[:-1])[..., None])[..., 0]
    return (
        torch.linalg.vector_norm(turn.flatten(1), dim=-1).sum()
        + translation_weight * torch.linalg.vector_norm(step, dim=-1).sum()
    )


def depth_shape_change(log_depth: Tensor, initial_log_depth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean squared change of log depths (N, H*W) but for a factor per frame; pixels weigh 1 + `weight`."""
    floor = -13.815510557964274  # log 1e-6
    change = log_depth.clamp(min=floor) - initial_log_depth.clamp(min=floor)
    change = change - change.mean(dim=1, keepdim=True)
    square = change.square() if weight is None else (1.0 + weight) * change.square()
    return square.mean(dim=1).mean()

"""Terms of global alignment that hold the solution together: smooth camera paths, depths near their initial shape."""

import torch
from torch import Tensor


def camera_smoothness(world_from_camera: Tensor, translation_weight: float) -> Tensor:
    """Sum over successive frames of |R - I| (Frobenius) + `translation_weight` |t| of their relative pose (MonST3R,
    section 3.3); poses are (N, 4, 4)."""
    rotation, center = world_from_camera[:, :3, :3], world_from_camera[:, :3, 3]
    back = rotation[:-1].transpose(1, 2)
    turn = back @ rotation[1:] - torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    step = (back @ (center[1:] - center[:-1])[..., None])[..., 0]
    return (
        torch.linalg.vector_norm(turn.flatten(1), dim=-1).sum()
        + translation_weight * torch.linalg.vector_norm(step, dim=-1).sum()
    )


def depth_shape_change(log_depth: Tensor, initial_log_depth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over frames and pixels of the square of how much log depths (N, H*W) changed beyond one factor per frame,
    counted 1 + `weight` times."""
    floor = -13.815510557964274  # log 1e-6
    change = log_depth.clamp(min=floor) - initial_log_depth.clamp(min=floor)
    change = change - change.mean(dim=1, keepdim=True)
    square = change.square() if weight is None else (1.0 + weight) * change.square()
    return square.mean(dim=1).mean()

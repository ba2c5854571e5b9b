"""Confidence of the aligned depth maps."""

import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid

#: fraction of the depth of the occluded pixel
_TOLERANCE = 0.001


def clear_occluders(
    confidence: Tensor, z_depth: Tensor, intrinsics: Tensor, world_from_camera: Tensor, *, pixel_offset: float
) -> Tensor:
    """Returns `confidence` (N, H, W) with 0 for points that occlude a more confident pixel of another frame.

    `z_depth` (N, H, W); `intrinsics` (N, 3, 3) for pixels at (u, v) + `pixel_offset`; `world_from_camera` (N, 4, 4). A
    point occludes a pixel if it is nearer than the pixel's depth by more than a thousandth of it. Frames
    are cleaned in order, each against the already cleaned earlier ones."""
    count, height, width = confidence.shape
    cleaned = confidence.clone().reshape(count, -1)
    pixels = PixelGrid.of(height, width, pixel_offset, confidence.device).homogeneous
    rotation, center = world_from_camera[:, :3, :3], world_from_camera[:, :3, 3:]
    inverse = torch.linalg.inv(intrinsics.double()).float()
    flat_depth = z_depth.reshape(count, -1)
    for i in range(count):
        world = rotation[i] @ ((inverse[i] @ pixels) * flat_depth[i]) + center[i]
        for j in range(count):
            if i == j:
                continue
            seen = rotation[j].T @ (world - center[j])
            x, y, z = intrinsics[j] @ seen
            column, row = (x / z - pixel_offset).round(), (y / z - pixel_offset).round()
            inside = (seen[2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            there = torch.where(inside, row * width + column, 0.0).long()
            nearer = seen[2] < (1.0 - _TOLERANCE) * flat_depth[j][there]
            weaker = cleaned[i] < cleaned[j][there]
            cleaned[i][inside & nearer & weaker] = 0.0
    return cleaned.reshape(count, height, width)

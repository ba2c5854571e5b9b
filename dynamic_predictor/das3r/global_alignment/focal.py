"""The focal length of a camera from a pointmap in its own frame.

Pixels p (relative to the principal point) and rays r = (x, y) / z of a pinhole camera satisfy p = f r. The estimate is
the f with the least sum of |p - f r|, by iterative reweighting (Weiszfeld, 1937), as in DUSt3R (Wang et al., 2024).
"""

import math

import torch
from torch import Tensor

_ROUNDS = 10


def typical_focal(height: int, width: int) -> float:
    """The focal length in pixels that gives the longer side a field of view of 60 degrees."""
    return max(height, width) / (2.0 * math.tan(math.radians(30.0)))


def estimate_focal(
    points: Tensor,
    principal_point: tuple[float, float] | None = None,
    *,
    pixel_offset: float = 0.0,
) -> float:
    """Focal length in pixels, for square pixels, of `points` (H, W, 3) in the camera's frame, or NaN.

    Pixel (u, v) lies at (u + `pixel_offset`, v + `pixel_offset`); the principal point defaults to the image center.
    """
    height, width, _ = points.shape
    cx, cy = principal_point or (width / 2.0, height / 2.0)
    u = torch.arange(width, dtype=torch.float64, device=points.device) + (pixel_offset - cx)
    v = torch.arange(height, dtype=torch.float64, device=points.device) + (pixel_offset - cy)
    pixels = torch.stack(torch.broadcast_tensors(u[None, :], v[:, None]), dim=-1)
    points = points.double()
    rays = torch.nan_to_num(points[..., :2] / points[..., 2:], posinf=0.0, neginf=0.0)
    along = (rays * pixels).sum(dim=-1)
    square = (rays * rays).sum(dim=-1)
    focal = along.mean() / square.mean()
    for _ in range(_ROUNDS):
        weight = 1.0 / (pixels - focal * rays).norm(dim=-1).clamp(min=1e-8)
        focal = (weight * along).mean() / (weight * square).mean()
    focal = float(focal)
    return focal if math.isfinite(focal) else math.nan

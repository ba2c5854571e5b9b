"""The focal length of a camera from a pointmap in its own frame.

Pixels p (about the principal point) and rays r = (x, y) / z of a pinhole camera obey p = f r. Weiszfeld: f with the
least sum of distances |p - f r|, by iteratively reweighted least squares (Weiszfeld 1937), as DUSt3R does it.
"""

import math
from typing import Literal

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
    method: Literal["weiszfeld", "median"] = "weiszfeld",
    pixel_offset: float = 0.0,
    least: float = 0.0,
    largest: float = math.inf,
) -> float:
    """Focal length in pixels, square pixels, of points (H, W, 3) in the camera's frame.

    Pixel (u, v) is at (u + `pixel_offset`, v + `pixel_offset`); the principal point is the middle of the image unless
    given. The result is held between `least` and `largest` times `typical_focal`. NaN if the points say nothing.
    """
    height, width, _ = points.shape
    cx, cy = principal_point or (width / 2.0, height / 2.0)
    u = torch.arange(width, dtype=torch.float64, device=points.device) + (pixel_offset - cx)
    v = torch.arange(height, dtype=torch.float64, device=points.device) + (pixel_offset - cy)
    pixels = torch.stack(torch.broadcast_tensors(u[None, :], v[:, None]), dim=-1)
    points = points.double()
    if method == "median":
        votes = pixels * points[..., 2:] / points[..., :2]
        focal = float(torch.nanmedian(votes))
    else:
        rays = torch.nan_to_num(points[..., :2] / points[..., 2:], posinf=0.0, neginf=0.0)
        along = (rays * pixels).sum(dim=-1)
        square = (rays * rays).sum(dim=-1)
        focal = along.mean() / square.mean()
        for _ in range(_ROUNDS):
            weight = 1.0 / (pixels - focal * rays).norm(dim=-1).clamp(min=1e-8)
            focal = (weight * along).mean() / (weight * square).mean()
        focal = float(focal)
    typical = typical_focal(height, width)
    return min(max(focal, least * typical), largest * typical) if math.isfinite(focal) else math.nan

"""Depth maps as color images."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

#: colors run linearly with the inverse of the depth, or with its logarithm
DepthScale = Literal["inverse", "log"]

_PERCENTILE = 2.0
_RANGE_PERCENTILE = 1.0
#: every seventh pixel is enough to find a range
_RANGE_STEP = 7


def depth_colors(
    z_depth: np.ndarray,
    limits: tuple[float, float] | None = None,
    *,
    scale: DepthScale = "inverse",
    colormap: str = "Spectral",
    unknown: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """uint8 RGB (H, W, 3) of a depth map (H, W), 0 = unknown, in a color map of matplotlib whose first color is near.

    `limits`: lowest and highest value of the scale (1 / depth or log(depth)) that get colors of their own; None takes
    the 2nd and 98th percentile of this map (scale "inverse" only). `unknown`: its RGB; None: as the largest depth.
    """
    import matplotlib

    known = z_depth > 0
    safe = np.where(known, z_depth, 1.0)
    low, high = inverse_depth_limits(z_depth) if limits is None else limits
    if low == high:
        low, high = low - 1e-6, high + 1e-6
    if scale == "inverse":
        distance = 1.0 - np.clip((np.where(known, 1.0 / safe, 0.0) - low) / (high - low), 0.0, 1.0)
    else:
        distance = np.where(known, np.clip((np.log(safe) - low) / (high - low), 0.0, 1.0), 1.0)
    colors = (matplotlib.colormaps[colormap](distance)[..., :3] * 255.0).astype(np.uint8)
    if unknown is not None:
        colors[~known] = unknown
    return colors


def inverse_depth_limits(z_depth: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of the inverse of all known depths, any shape; (0, 0) for ten of them or fewer."""
    values = z_depth[z_depth > 0]
    if len(values) <= 10:
        return 0.0, 0.0
    low, high = np.percentile(1.0 / values, [_PERCENTILE, 100.0 - _PERCENTILE])
    return float(low), float(high)


def depth_range(z_depths: Sequence[np.ndarray]) -> tuple[float, float]:
    """The 1st and 99th percentile of all known depths of a clip; (1, 2) when none is known."""
    known = np.concatenate([z_depth[z_depth > 0][::_RANGE_STEP] for z_depth in z_depths]) if z_depths else np.zeros(0)
    if not len(known):
        return 1.0, 2.0
    near, far = (float(value) for value in np.percentile(known, [_RANGE_PERCENTILE, 100.0 - _RANGE_PERCENTILE]))
    return near, max(far, near * 1.01)

"""Mending motion masks by hand: pure functions on masks, for every window that has a brush.

A stroke or a rectangle is a region of one frame. It is painted (1, moves) or erased (0, static) there, and in other
frames where optical flow carries it to. `scene.mask_edits` keeps what was changed.
"""

from collections.abc import Callable

import numpy as np

#: (i, j) -> displacement (H, W, 2) in pixels (x, y) from frame i to frame j, as `OpticalFlow.between` gives it
Displacement = Callable[[int, int], np.ndarray]

#: forward and backward flow of a visible point cancel to within this many pixels plus this share of their lengths
_TOLERANCE, _TOLERANCE_SHARE = 1.5, 0.1


def stroke_region(shape: tuple[int, int], stroke: np.ndarray, radius: float) -> np.ndarray:
    """Bool (H, W): pixels whose center is within `radius` pixels of the line through the points of `stroke` (N, 2),
    which are (x, y) in pixels. One point is a disk. Points may lie outside of the frame."""
    height, width = shape
    region = np.zeros(shape, bool)
    points = np.asarray(stroke, np.float64).reshape(-1, 2)
    starts = points[:-1] if len(points) > 1 else points
    ends = points[1:] if len(points) > 1 else points
    for start, end in zip(starts, ends, strict=True):
        low = np.clip(np.floor(np.minimum(start, end) - radius), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(np.maximum(start, end) + radius), 0, (width, height)).astype(int)
        x = np.arange(low[0], high[0])[None, :] + 0.5 - start[0]
        y = np.arange(low[1], high[1])[:, None] + 0.5 - start[1]
        along = end - start
        length = float(along @ along)
        share = np.clip((x * along[0] + y * along[1]) / length, 0.0, 1.0) if length > 0 else 0.0
        squared = (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2
        region[low[1] : high[1], low[0] : high[0]] |= squared <= radius * radius
    return region


def rectangle_region(shape: tuple[int, int], corner: np.ndarray, opposite: np.ndarray) -> np.ndarray:
    """Bool (H, W): pixels whose center is in the rectangle between two corners (x, y)."""
    low, high = np.minimum(corner, opposite), np.maximum(corner, opposite)
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    return np.outer((y >= low[1]) & (y <= high[1]), (x >= low[0]) & (x <= high[0]))


def painted(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A copy of the mask (H, W) in which `region` (H, W) moves."""
    return np.where(region, np.float32(1.0), mask).astype(np.float32)


def erased(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A copy of the mask (H, W) in which `region` (H, W) is static."""
    return np.where(region, np.float32(0.0), mask).astype(np.float32)


def grown_along_flow(
    region: np.ndarray, frame: int, count: int, displacement: Displacement, *, reach: int
) -> dict[int, np.ndarray]:
    """Where `region` (H, W) of `frame` is in up to `reach` frames before and after it, of a clip of `count` frames.

    Returns the regions by frame, `frame` itself included, and frames left out in which nothing of it is found. From
    frame to frame, a pixel belongs to the region if the flow leads back into it and if the opposite flow agrees, so
    that what becomes hidden is lost and what was beside it is not taken along.
    """
    found = {frame: np.asarray(region, bool)}
    for step in (-1, 1):
        for index in range(frame + step, frame + step * (reach + 1), step):
            if not 0 <= index < count:
                break
            there = carried(found[index - step], displacement(index, index - step), displacement(index - step, index))
            if not there.any():
                break
            found[index] = there
    return dict(sorted(found.items()))


def carried(region: np.ndarray, back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """`region` (H, W) of one frame in another: `back` (H, W, 2) is the flow from the other frame to this one, `forth`
    the opposite one."""
    height, width = region.shape
    rows, columns = np.mgrid[0:height, 0:width]
    x = np.rint(columns + back[..., 0]).astype(int)
    y = np.rint(rows + back[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    there = forth[y, x]
    lengths = np.linalg.norm(back, axis=-1) + np.linalg.norm(there, axis=-1)
    agrees = np.linalg.norm(back + there, axis=-1) <= _TOLERANCE + _TOLERANCE_SHARE * lengths
    return inside & agrees & region[y, x]

"""The Z-order curve (Morton, 1966): close in space, close in memory."""

import numpy as np


def morton_order_of_points(points: np.ndarray) -> np.ndarray:
    """Indices (N,), int64, that sort points (N, 3) along the curve."""
    if len(points) == 0:
        return np.zeros(0, np.int64)
    points = np.asarray(points, np.float64)
    # percentiles, because with the full extent a few far outliers would squeeze all others into a few cells
    low, high = np.percentile(points, [1, 99], axis=0)
    extent = max(float((high - low).max()), 1e-12)
    cells = np.clip((points - low) / extent * 0.5 + 0.25, 0.0, 1.0) * (2**21 - 1)
    codes = np.zeros(len(points), np.uint64)
    for axis in range(3):
        codes |= _spread_bits(cells[:, axis].astype(np.uint64)) << np.uint64(axis)
    return np.argsort(codes, kind="stable")


def _spread_bits(values: np.ndarray) -> np.ndarray:
    """Inserts two zero bits between each of the lowest 21 bits."""
    values = values & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values

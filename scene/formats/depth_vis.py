"""Depth maps as images: inverse depth in matplotlib's Spectral, between the percentiles of the map itself."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_folder

_PERCENTILE = 2.0
_JPEG_QUALITY = 95


def depth_colors(z_depth: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """uint8 RGB (H, W, 3) of a depth map (H, W), red near and blue far; unknown (0) is as far as it gets.

    `limits`: the inverse depths that become the two ends; None takes the 2nd and 98th percentile of this map, as Depth
    Anything 3 does, which makes images of a clip flicker: give those of the whole clip there.
    """
    known = z_depth > 0
    inverse = np.where(known, 1.0 / np.where(known, z_depth, 1.0), 0.0)
    low, high = inverse_depth_limits(z_depth) if limits is None else limits
    if low == high:
        low, high = low - 1e-6, high + 1e-6
    level = 1.0 - np.clip((inverse - low) / (high - low), 0.0, 1.0)
    return (matplotlib.colormaps["Spectral"](level)[..., :3] * 255.0).astype(np.uint8)


def inverse_depth_limits(z_depth: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of the inverse of all known depths; (0, 0) when hardly any is known."""
    values = z_depth[z_depth > 0]
    if len(values) <= 10:
        return 0.0, 0.0
    low, high = np.percentile(1.0 / values, [_PERCENTILE, 100.0 - _PERCENTILE])
    return float(low), float(high)


def write_depth_vis(
    folder: str | Path, pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, overwrite: bool = False
) -> int:
    """Writes 0000.jpg, ... into `folder`: image and coloured depth side by side, of (uint8 RGB (H, W, 3), depth
    (H, W)) pairs. Whole or not at all; returns how many. `InputError` when there is nothing, or when the folder exists
    without `overwrite`."""
    count = 0
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for image, z_depth in pairs:
            write_jpeg(temporary / f"{count:04d}.jpg", np.hstack([image, depth_colors(z_depth)]))
            count += 1
        if not count:
            raise InputError(f"There is no depth to write to {folder}.")
    return count


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """uint8 RGB (H, W, 3), quality 95."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())

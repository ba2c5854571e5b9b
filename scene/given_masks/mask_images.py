"""Reads what one mask file says, before it is known what it means: gray levels, alpha, labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.images import read_layers
from scene.media.image_header import opened_image, stored_values

_LOSSY_FORMATS = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"})


@dataclass
class MaskImage:
    """One mask as it is stored.

    `levels` (H, W) int32: gray levels from 0 to `full_scale`; of colored label images a number per color, 0 = black or,
    where nothing is black, the color with index 0. `alpha` (H, W) uint8, None where there is none.
    """

    levels: np.ndarray
    full_scale: int
    alpha: np.ndarray | None = None
    #: the levels are numbers of labels by the colors of the file, not gray
    is_colored: bool = False
    #: lossy compression leaves gray where there was black or white
    is_lossy: bool = False


def read_mask_image(path: Path) -> MaskImage:
    """Raises `InputError` as `scene.images.read_layers` does."""
    color, alpha = read_layers(path)
    with opened_image(path) as image:
        lossy = (image.format or "") in _LOSSY_FORMATS
        if image.mode == "P":
            levels, is_colored = _palette_levels(np.array(image), color)
            return MaskImage(levels, 255, alpha, is_colored)
        if image.mode.startswith("I"):
            return _deep_levels(path, image.getexif().get(0x0112, 1), color, alpha)
    if lossy or _is_gray(color):
        return MaskImage(color.max(axis=2).astype(np.int32), 255, alpha, is_lossy=lossy)
    packed = (color.astype(np.int32) * np.array([1 << 16, 1 << 8, 1], np.int32)).sum(axis=2)
    return MaskImage(packed, 255, alpha, is_colored=True)


def mask_image_of_array(values: np.ndarray) -> MaskImage:
    """A mask (H, W) out of an array: booleans, whole numbers up to 255 or 65535, or floating-point numbers in [0, 1].
    Raises `InputError` for other numbers."""
    if values.dtype == bool:
        return MaskImage(values.astype(np.int32), 1)
    if np.issubdtype(values.dtype, np.floating):
        known = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        if known.min(initial=0.0) < 0 or known.max(initial=0.0) > 255:
            raise InputError("The masks hold numbers outside [0, 1]; give 1 for what moves and 0 for what does not.")
        scale = 1.0 if known.max(initial=0.0) <= 1.0 else 255.0
        return MaskImage(np.rint(known * (65535.0 / scale)).astype(np.int32), 65535)
    if not np.issubdtype(values.dtype, np.integer) or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError("The masks hold numbers outside [0, 65535]; give 1 for what moves and 0 for what does not.")
    return MaskImage(values.astype(np.int32), 255 if values.max(initial=0) <= 255 else 65535)


def _is_gray(color: np.ndarray) -> bool:
    return bool(np.array_equal(color[..., 0], color[..., 1]) and np.array_equal(color[..., 0], color[..., 2]))


def _palette_levels(indices: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, bool]:
    """Gray levels of a palette image whose colors are gray; else labels: its indices, 0 for black."""
    if _is_gray(color):
        return color[..., 0].astype(np.int32), False
    black = color.max(axis=2) == 0
    if not black.any():
        return indices.astype(np.int32), True
    return np.where(black, 0, indices.astype(np.int32) + 1), True


def _deep_levels(path: Path, orientation: int, color: np.ndarray, alpha: np.ndarray | None) -> MaskImage:
    """Levels of a file with more than 8 bits per pixel, whose numbers may be labels or 8-bit levels."""
    values = stored_values(path)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer) or orientation != 1:
        return MaskImage(color.max(axis=2).astype(np.int32), 255, alpha)
    levels = np.clip(values.astype(np.int64), 0, 65535).astype(np.int32)
    return MaskImage(levels, 65535, alpha)

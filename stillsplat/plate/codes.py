"""The numbers of the input at full size, and floating-point values for the arithmetic between them.

Values are those of the input's own encoding, brought to [0, 1]; linear floating-point input is bent by the sRGB curve,
so that equal differences look equal. Pixels that are not changed are never converted.
"""

import numpy as np

from scene.media.color import ColorEncoding, linear_rec709, srgb_encoded

_GAMMA, _OFFSET, _SLOPE, _KNEE = 2.4, 0.055, 12.92, 0.0031308


def values_of(codes: np.ndarray) -> np.ndarray:
    """float32 values of the same shape, [0, 1] except for light above white."""
    if codes.dtype == np.uint8:
        return codes.astype(np.float32) * np.float32(1 / 255)
    if codes.dtype == np.uint16:
        return codes.astype(np.float32) * np.float32(1 / 65535)
    return srgb_encoded(np.nan_to_num(codes.astype(np.float32), nan=0.0, posinf=65504.0, neginf=0.0)).astype(np.float32)


def codes_of(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The reverse of `values_of`."""
    if dtype == np.uint8:
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if dtype == np.uint16:
        return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
    knee = _KNEE * _SLOPE
    curved = np.power(np.maximum(values + _OFFSET, 1e-9) / (1 + _OFFSET), _GAMMA)
    return np.where(values <= knee, values / _SLOPE, curved).astype(np.float32)


def display_curve(shown: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(256, 3) float32: the value that belongs to each level of a standard display, by an image `shown` uint8 (h, w, 3)
    and its `values` (h, w, 3); levels that do not occur are interpolated. It never falls."""
    table = np.empty((256, 3), np.float32)
    for channel in range(3):
        level, value = shown[..., channel].ravel(), values[..., channel].ravel().astype(np.float64)
        count = np.bincount(level, minlength=256)
        mean = np.bincount(level, weights=value, minlength=256) / np.maximum(count, 1)
        known = np.flatnonzero(count)
        table[:, channel] = np.maximum.accumulate(np.interp(np.arange(256), known, mean[known]))
    return table


def curved(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A float image (h, w, 3) in [0, 1] of a standard display in values, by a `display_curve`."""
    levels = np.arange(256) / 255.0
    return np.stack(
        [np.interp(image[..., channel], levels, table[:, channel]) for channel in range(3)], axis=-1
    ).astype(np.float32)


def linear_light(codes: np.ndarray, encoding: ColorEncoding) -> np.ndarray:
    """Linear Rec.709, float32 (H, W, 3)."""
    return linear_rec709(codes, encoding)

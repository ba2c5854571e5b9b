"""Which colors belong to what moves: histograms of moving and static pixels, near each other in time and place.

After the color models of Papazoglou and Ferrari, "Fast object segmentation in unconstrained video", ICCV 2013, with
histograms in the place of Gaussian mixtures, and with the background's taken from the surroundings of the object only:
what looks like the object elsewhere in the picture does not matter for its border.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

#: bins per channel of Lab
BINS = 16
#: width in pixels of the surroundings that the background's colors are taken from, at a longer side of 512
_SURROUNDINGS = 40.0
#: distance in frames up to which colors are gathered, and at which they count exp(-1)
_REACH, _MEMORY = 8, 4.0
#: largest log odds of a color
_LIMIT = 3.0
#: smoothing of the log odds of color in pixels, at a longer side of 512: single pixels of a texture say little
_BLUR = 2.0
#: likelihood of colors that were never seen, relative to that of a uniform distribution
_PRIOR = 1e-3
#: balanced accuracies of the color models at which color counts nothing, and fully
_SILENT, _TELLING = 0.62, 0.87


class ColorCounts(NamedTuple):
    """The colors of one frame: counts (BINS^3,) of what moves, and of its surroundings."""

    moving: np.ndarray
    static: np.ndarray


def counts_around(
    image: np.ndarray,
    motion: np.ndarray,
    unit: float,
    certain: np.ndarray | None = None,
    left_out: np.ndarray | None = None,
) -> ColorCounts:
    """The colors of a frame with the mask `motion` (H, W) in [0, 1]. They count by the probability of being right, that
    of `certain` (H, W; default: 1 = moves, as `motion` says) included; of the surroundings what is `left_out` (H, W)
    bool does not count. `unit`: the longer image side divided by 512."""
    moving = motion > 0.5
    codes = color_codes(image)
    if not moving.any():
        nothing = np.zeros(codes.shape, np.float32)
        return ColorCounts(color_counts(codes, nothing), color_counts(codes, nothing))
    distance = cv2.distanceTransform((~moving).astype(np.uint8), cv2.DIST_L2, 3) / (_SURROUNDINGS * unit)
    inside, around = np.square(motion), np.square(1.0 - motion)
    if certain is not None:
        inside, around = inside * certain, around * (1.0 - certain)
    inside = np.where(moving, inside, 0.0)
    around = np.where(moving, 0.0, around * np.exp(-0.5 * distance * distance))
    if left_out is not None:
        around[left_out] = 0.0
    return ColorCounts(color_counts(codes, inside), color_counts(codes, around))


def table_near(counts: Sequence[ColorCounts], index: int) -> np.ndarray:
    """(BINS^3,) float32: the log odds of the colors around frame `index`, less where colors tell little; 0 where they
    tell nothing. `counts` are those of all frames."""
    moving, static = np.zeros_like(counts[0].moving), np.zeros_like(counts[0].static)
    for other in range(max(index - _REACH, 0), min(index + _REACH + 1, len(counts))):
        weight = float(np.exp(-abs(index - other) / _MEMORY))
        moving, static = moving + weight * counts[other].moving, static + weight * counts[other].static
    table = log_odds_table(moving, static)
    return table * np.float32(informativeness(table, moving, static))


def color_log_odds(image: np.ndarray, table: np.ndarray, unit: float) -> np.ndarray:
    """(H, W) float32: the log odds of the pixels of `image` by `table`, limited and smoothed."""
    return cv2.GaussianBlur(np.clip(table[color_codes(image)], -_LIMIT, _LIMIT), (0, 0), _BLUR * unit)


def color_codes(image: np.ndarray) -> np.ndarray:
    """(H, W) int32: the bin of every pixel of the uint8 RGB `image`, 0 to BINS^3 - 1."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    # a and b of OpenCV's 8-bit Lab are around 128, mostly within 48 of it
    low, high = np.array([0, 80, 80], np.float32), np.array([255, 176, 176], np.float32)
    position = np.rint(np.clip((lab - low) / (high - low), 0.0, 1.0) * (BINS - 1)).astype(np.int32)
    return (position[..., 0] * BINS + position[..., 1]) * BINS + position[..., 2]


def color_counts(codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(BINS^3,) float32: the sum of the `weight` (H, W) of the pixels in each bin."""
    return np.bincount(codes.ravel(), weight.ravel(), BINS**3).astype(np.float32)


def log_odds_table(moving: np.ndarray, static: np.ndarray) -> np.ndarray:
    """(BINS^3,) float32: the logarithm of the ratio of the likelihoods of each color as that of a moving and of a
    static pixel, from the counts of both. Neighboring bins are smoothed; where nothing is known the ratio is 1."""
    likelihoods = [_smoothed(counts) / max(float(counts.sum()), 1e-6) + _PRIOR / BINS**3 for counts in (moving, static)]
    return np.log(likelihoods[0] / likelihoods[1]).astype(np.float32)


def informativeness(table: np.ndarray, moving: np.ndarray, static: np.ndarray) -> float:
    """How well colors tell what moves from its surroundings, in [0, 1]: 0 where the log odds of `table` classify few
    more of the counted pixels correctly than chance does, 1 from `_TELLING` on."""
    if not moving.any() or not static.any():
        return 0.0
    right = 0.5 * (moving[table > 0].sum() / moving.sum() + static[table < 0].sum() / static.sum())
    return float(np.clip((right - _SILENT) / (_TELLING - _SILENT), 0.0, 1.0))


def _smoothed(counts: np.ndarray) -> np.ndarray:
    cube = counts.reshape(BINS, BINS, BINS)
    for axis in range(3):
        moved = np.moveaxis(cube, axis, 0)
        padded = np.pad(moved, ((1, 1), (0, 0), (0, 0)), mode="edge")
        cube = np.moveaxis(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:], 0, axis)
    return cube.reshape(-1)

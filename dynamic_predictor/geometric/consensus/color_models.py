"""Which colors belong to what moves: histograms of moving and static pixels, near each other in time and place.

After the color models of Papazoglou and Ferrari, "Fast object segmentation in unconstrained video", ICCV 2013, with
histograms in the place of Gaussian mixtures, and with the background's taken from the surroundings of the object only:
what looks like the object elsewhere in the picture does not matter for its border.
"""

import cv2
import numpy as np

#: bins per channel of Lab
BINS = 16
#: likelihood of colors that were never seen, relative to that of a uniform distribution
_PRIOR = 1e-3
#: balanced accuracies of the color models at which color counts nothing, and fully
_SILENT, _TELLING = 0.62, 0.87


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

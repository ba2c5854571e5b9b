"""Mask borders on the edges of objects: a motion mask has a halo of several pixels, because flow is blurred.

For every frame, color models of what moves and of its surroundings are gathered from the rough masks of the frames
nearby. Together with the distance from the rough border and the smoothness along edges, they say what every pixel near
the mask is. The result gives better color models, and so on, a few times.
"""

import cv2
import numpy as np

from dynamic_predictor.geometric.consensus.color_models import (
    ColorCounts,
    color_log_odds,
    counts_around,
    table_near,
)
from dynamic_predictor.geometric.consensus.pixel_cut import mean_field
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps

#: uncertainty in pixels of the rough border outside and inside of it, at a longer side of 512
_HALO, _DEPTH = 8.0, 5.0
#: largest log odds inside and outside of the rough mask, and those between core and extent
_INSIDE, _OUTSIDE, _BETWEEN = 3.0, 4.0, -0.5
#: weight of smoothness, its extent (of `EdgeAwareSmoother`, at a longer side of 512) and its contrast in Lab / 100
_SMOOTHNESS, _EXTENT, _CONTRAST = 3.0, 60.0, 0.05
#: number of rounds of color models, and of steps of the inference in each
_ROUNDS, _STEPS = 2, 4


def refined_borders(images: Frames, extent: FrameMaps, core: FrameMaps | None = None) -> StoredMaps:
    """The motion (H, W), in [0, 1], of every frame, with borders that follow the edges of `images`.

    `extent` and `core` (default: the same) are the two rough masks of `motion.MotionEstimate`. What is in the extent
    and not in the core moves if it looks like the core and not like the surroundings.
    """
    count, height, width = len(images), images.height, images.width
    unit = max(height, width) / 512.0
    result = StoredMaps(count, height, width)
    for repeat in range(_ROUNDS):
        counts = []
        for index in range(count):
            odds = _rough(extent, core, index, unit)
            current = result[index] if repeat else None
            counts.append(_counts(images.rgb8(index), odds, current, unit))
        for index in range(count):
            odds = _rough(extent, core, index, unit)
            result[index] = _refined(images.rgb8(index), odds, table_near(counts, index), unit)
    return result


def _rough(extent: FrameMaps, core: FrameMaps | None, index: int, unit: float) -> np.ndarray:
    """(H, W) float32: the log odds of the rough masks of one frame; -`_OUTSIDE` all over where nothing moves."""
    wide = extent[index]
    odds = rough_log_odds(wide, unit)
    if core is None:
        return odds
    inside, certain = wide > 0.5, core[index] > 0.5
    deep = rough_log_odds(np.where(inside & certain, 1.0, 0.0), unit)
    return np.where(inside, np.where(certain, deep, _BETWEEN), odds).astype(np.float32)


def rough_log_odds(motion: np.ndarray, unit: float) -> np.ndarray:
    """(H, W) float32: the log odds that the distance from the border of a rough mask gives; 0 at the border."""
    inside = (motion > 0.5).astype(np.uint8)
    if not inside.any():
        return np.full(motion.shape, -_OUTSIDE, np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - 0.5
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3) - 0.5
    odds = np.where(inside > 0, within / (_DEPTH * unit), -beyond / (_HALO * unit))
    return np.clip(odds, -_OUTSIDE, _INSIDE).astype(np.float32)


def _counts(image: np.ndarray, odds: np.ndarray, current: np.ndarray | None, unit: float) -> ColorCounts:
    """The colors of one frame, from the `current` mask (None: from the rough log `odds` alone)."""
    certain = 1.0 / (1.0 + np.exp(-odds))
    if current is not None:
        return counts_around(image, current, unit, certain)
    # what lies between core and extent is neither
    return counts_around(image, certain, unit, certain, left_out=odds == np.float32(_BETWEEN))


def _refined(image: np.ndarray, odds: np.ndarray, table: np.ndarray, unit: float) -> np.ndarray:
    """The mask of one frame. Only the surroundings of the rough mask are looked at."""
    height, width = odds.shape
    result = np.zeros_like(odds)
    near = odds > -_OUTSIDE
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if len(rows) == 0:
        return result
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = np.ascontiguousarray(image[box])
    if min(part.shape[:2]) < 2:
        return result
    color = color_log_odds(part, table, unit)
    lab = cv2.cvtColor(part.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
    smoother = EdgeAwareSmoother(lab, _EXTENT * unit * unit, _CONTRAST)
    result[box] = mean_field(color + odds[box], smoother, _SMOOTHNESS, _STEPS)
    return result

"""Motion masks from scores of residuals: colors of what moves and of what does not, and the edges of the frame.

The same inference as in `dynamic_predictor.geometric.consensus`, with the residual in the place of the rough mask.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dynamic_predictor.geometric.consensus.color_models import (
    color_codes,
    color_counts,
    informativeness,
    log_odds_table,
)
from dynamic_predictor.geometric.consensus.pixel_cut import mean_field
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps

#: distance in frames up to which colors are gathered, and at which they count exp(-1)
_REACH, _MEMORY = 8, 4.0
#: width in pixels of the surroundings that the colors of what is static are taken from, and blur of the log odds of
#: colors, at a long side of 512
_SURROUNDINGS, _BLUR = 40.0, 2.0
#: largest log odds of a color
_COLOR_LIMIT = 3.0
#: weight of smoothness, its extent (of `EdgeAwareSmoother`, at a long side of 512), contrast in Lab / 100, and steps
_SMOOTHNESS, _EXTENT, _CONTRAST, _STEPS = 3.0, 240.0, 0.05, 4
_ROUNDS = 2


def masks_from_evidence(images: Frames, frames: Sequence[int], evidence: FrameMaps) -> StoredMaps:
    """The motion (H, W), in [0, 1], of each of the `frames` of `images`, from its `evidence` (H, W): log odds that a
    pixel moves."""
    count, height, width = len(frames), images.height, images.width
    unit = max(height, width) / 512.0
    result = StoredMaps(count, height, width)
    for index in range(count):
        result[index] = 1.0 / (1.0 + np.exp(-evidence[index]))
    for _ in range(_ROUNDS):
        counts = [_counts(images.rgb8(frames[index]), result[index], unit) for index in range(count)]
        for index in range(count):
            moving, static = np.zeros_like(counts[0][0]), np.zeros_like(counts[0][0])
            for other in range(max(index - _REACH, 0), min(index + _REACH + 1, count)):
                weight = float(np.exp(-abs(index - other) / _MEMORY))
                moving, static = moving + weight * counts[other][0], static + weight * counts[other][1]
            image = images.rgb8(frames[index])
            color = _color_odds(image, moving, static, unit)
            lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
            smoother = EdgeAwareSmoother(lab, _EXTENT * unit * unit, _CONTRAST)
            result[index] = mean_field(evidence[index] + color, smoother, _SMOOTHNESS, _STEPS)
    return result


def _counts(image: np.ndarray, motion: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the colors of what moves in a frame, and of its surroundings."""
    moving = motion > 0.5
    codes = color_codes(image)
    if not moving.any():
        nothing = np.zeros(codes.shape, np.float32)
        return color_counts(codes, nothing), color_counts(codes, nothing)
    distance = cv2.distanceTransform((~moving).astype(np.uint8), cv2.DIST_L2, 3) / (_SURROUNDINGS * unit)
    around = np.where(moving, 0.0, np.square(1.0 - motion) * np.exp(-0.5 * distance * distance))
    return color_counts(codes, np.where(moving, np.square(motion), 0.0)), color_counts(codes, around)


def _color_odds(image: np.ndarray, moving: np.ndarray, static: np.ndarray, unit: float) -> np.ndarray:
    """(H, W): the log odds that the colors of `image` give, 0 where colors tell nothing."""
    if not moving.any() or not static.any():
        return np.zeros(image.shape[:2], np.float32)
    table = log_odds_table(moving, static)
    weight = np.float32(informativeness(table, moving, static))
    color = np.clip(table[color_codes(image)], -_COLOR_LIMIT, _COLOR_LIMIT) * weight
    return cv2.GaussianBlur(color, (0, 0), _BLUR * unit)

"""Prompts for an object: the frames in which the motion mask shows it best, with points on it and a box around it."""

import cv2
import numpy as np

from dynamic_predictor.mask_refinement.contract import Prompt
from dynamic_predictor.mask_refinement.evidence import Core, FrameEvidence
from dynamic_predictor.mask_refinement.objects import MovingObject

#: frames that are tried, and the part of the object's time that lies between two of them
_CANDIDATES, _SPACING = 3, 1 / 5
#: points on an object
_POINTS = 3
#: a frame in which the object reaches the border of the picture counts less
_CUT_OFF = 0.5


def prompt_frames(item: MovingObject) -> list[int]:
    """The frames in which the core of the object is large, sure and compact, the best first, apart from each other."""
    largest = max(core.area for core in item.cores.values())
    ranked = sorted(item.cores.values(), key=lambda core: -_quality(core, largest))
    apart = max(1.0, _SPACING * (max(item.cores) - min(item.cores)))
    chosen: list[int] = []
    for core in ranked:
        if all(abs(core.frame - frame) >= apart for frame in chosen):
            chosen.append(core.frame)
    return chosen[:_CANDIDATES]


def _quality(core: Core, largest: int) -> float:
    shown = _CUT_OFF if core.touches_border else 1.0
    return float(np.sqrt(core.area / largest)) * core.confidence * core.compactness * shown


def prompts_of(core: Core, evidence: FrameEvidence) -> tuple[Prompt, Prompt]:
    """Two prompts for the object with that core: points and box, and the points alone."""
    extent = evidence.owner == core.label
    points = _spread_points(evidence.core & extent, evidence.depth)
    rows, columns = np.flatnonzero(extent.any(axis=1)), np.flatnonzero(extent.any(axis=0))
    box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return Prompt(core.frame, points, box), Prompt(core.frame, points)


def _spread_points(core: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Points (n, 2) deep inside a core and far from each other."""
    weight = np.where(core, depth, 0.0)
    points = []
    for _ in range(_POINTS):
        row, column = np.unravel_index(int(np.argmax(weight)), weight.shape)
        if weight[row, column] <= 0:
            break
        points.append((column + 0.5, row + 0.5))
        others = np.ones(core.shape, np.uint8)
        others[row, column] = 0
        away = cv2.distanceTransform(others, cv2.DIST_L2, 5)
        # further points lie at least as far from this one as it lies from the border
        weight = np.where(away > depth[row, column], weight, 0.0)
    return np.array(points, np.float32)

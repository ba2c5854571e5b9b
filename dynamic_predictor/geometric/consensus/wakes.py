"""Large parts of the masks without evidence for motion, and with colors of their own: the wake of a swan.

They are masked because they border on what surely moves. An object has parts without evidence, too, but they look like
its other parts, or are smaller than these.
"""

import cv2
import numpy as np
from scipy import ndimage

from dynamic_predictor.geometric.consensus.color_models import (
    BINS,
    color_codes,
    color_counts,
    informativeness,
    log_odds_table,
)
from scene.frames import Frames
from scene.images import fitted_size
from scene.maps import FrameMaps, StoredMaps

#: number of frames that are looked at together, and the longer side in pixels of the small maps that parts are found in
_WINDOW, _SIZE = 128, 256
#: evidence, relative to the strongest of the clip, of what surely moves, and below which it is weak
_STRONG, _WEAK = 0.5, 0.15
#: how well the colors of both have to be told apart (`informativeness`)
_DISTINCT = 0.35
#: evidence that says nothing, the log odds for each unit above or below it, and the largest log odds of a color
_NEUTRAL, _GAIN, _LIMIT = 0.3, 2.0, 3.0
#: standard deviations in pixels of the averages of color and of evidence
_COLOR_BLUR, _EVIDENCE_BLUR = 1.5, 2.0
#: share of the masks above which a part is larger than what surely moves, and the mean evidence below which it has none
_LARGER, _NOTHING = 0.5, 0.05


def remove_wakes(images: Frames, masks: StoredMaps, evidence: FrameMaps) -> float:
    """Sets the motion `masks` (H, W) of a clip, in [0, 1], to 0 in parts without evidence and with colors of their own.
    Returns the share of all pixels that these were.

    `evidence` (H, W): that of every pixel for motion, divided by the strongest of the clip (`votes.strongest`).
    """
    count = len(masks)
    removed = 0.0
    for first in range(0, count, _WINDOW):
        frames = range(first, min(first + _WINDOW, count))
        parts = _wakes(images, frames, masks, evidence)
        if parts is None:
            continue
        for row in np.flatnonzero(parts.any(axis=(1, 2))):
            index = frames[int(row)]
            part = parts[row].astype(np.uint8)
            part = cv2.resize(part, (images.width, images.height), interpolation=cv2.INTER_NEAREST)
            masks[index] = np.where(part > 0, 0.0, masks[index])
        removed += float(parts.mean()) * len(frames)
    return removed / max(count, 1)


def _wakes(images: Frames, frames: range, masks: StoredMaps, evidence: FrameMaps) -> np.ndarray | None:
    """(N, h, w) bool, at a small size: the parts of the masks of `frames` that are distinct; None without any."""
    small = fitted_size(images.width, images.height, _SIZE)
    moving = np.zeros((len(frames), small[1], small[0]), bool)
    weight, codes = np.zeros(moving.shape, np.float32), np.zeros(moving.shape, np.int32)
    counts = np.zeros((2, BINS**3), np.float32)
    for row, index in enumerate(frames):
        mask = (masks[index] > 0.5).astype(np.float32)
        share = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
        summed = cv2.resize(mask * evidence[index], small, interpolation=cv2.INTER_AREA)
        moving[row], weight[row] = share > 0.5, summed / np.maximum(share, 1e-2)
        codes[row] = color_codes(cv2.resize(images.rgb8(index), small, interpolation=cv2.INTER_AREA))
        counts[0] += color_counts(codes[row], moving[row] * np.where(weight[row] > _STRONG, weight[row], 0.0))
        counts[1] += color_counts(codes[row], (moving[row] & (weight[row] < _WEAK)).astype(np.float32))
    if not counts.any(axis=1).all():
        return None
    table = log_odds_table(*counts)
    if informativeness(table, *counts) < _DISTINCT:
        return None
    table = np.clip(table, -_LIMIT, _LIMIT)
    weak = np.zeros_like(moving)
    for row, (code, own) in enumerate(zip(codes, weight, strict=True)):
        color = cv2.GaussianBlur(table[code], (0, 0), _COLOR_BLUR)
        odds = color + _GAIN * (cv2.GaussianBlur(own, (0, 0), _EVIDENCE_BLUR) - _NEUTRAL)
        found = (moving[row] & (odds < 0)).astype(np.uint8)
        weak[row] = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return _large_parts(moving, weak, weight)


def _large_parts(moving: np.ndarray, weak: np.ndarray, evidence: np.ndarray) -> np.ndarray | None:
    """(N, h, w) bool: the connected parts of `weak` that are larger than the rest of what is `moving` and have no
    `evidence`; None without any. All are (N, h, w)."""
    labels = np.zeros(weak.shape, np.int32)
    ndimage.label(weak, structure=np.ones((3, 3, 3)), output=labels)
    sizes = np.bincount(labels.ravel())
    mean = np.bincount(labels.ravel(), evidence.ravel()) / np.maximum(sizes, 1)
    chosen = (sizes > _LARGER * moving.sum()) & (mean < _NOTHING)
    chosen[0] = False
    return chosen[labels] if chosen.any() else None

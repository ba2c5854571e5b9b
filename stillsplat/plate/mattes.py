"""Which pixels of a frame are replaced: what moves, its shadow and its reflection, and nothing else.

The motion mask of the scene is where this starts. Other frames then say what the frame would show (`background`):
a pixel that differs from what several of them agree on belongs to something passing, and one that does not differ is
kept as it is. So mattes get the shape of things, shadows come in, and halos go.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from stillsplat.plate.background import Background
from stillsplat.plate.warping import StaticView

#: difference in [0, 1] that noise leaves, and further differences per spread of the sources and per image gradient
_NOISE, _PER_SPREAD, _PER_GRADIENT = 0.012, 0.5, 0.35
#: the same for smooth differences, such as those of shadows, which are means over many pixels
_SMOOTH_NOISE, _SMOOTH_PER_SPREAD, _SMOOTH_PER_GRADIENT = 0.006, 0.3, 0.12
#: score from which a pixel beside others moves, and from which it does on its own; below the third it is kept
_BESIDE, _ALONE, _EQUAL = 2.5, 4.5, 1.5
_SMOOTH_BESIDE = 2.0
#: sources that must see a place before they say anything against the mask
_FEWEST = 3


@dataclass(frozen=True)
class Differences:
    """How much a frame differs from its background, in units of what errors of the background explain."""

    #: (H, W) float32; 0 where too few sources see the place
    sharp: np.ndarray
    smooth: np.ndarray


def differences(view: StaticView, background: Background) -> Differences:
    """Scores of the pixels of a frame."""
    unit = max(view.hidden.shape) / 480
    spread = background.voted.spread
    gray = cv2.cvtColor(np.clip(background.color, 0, 1), cv2.COLOR_RGB2GRAY)
    dx, dy = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    gradient = cv2.dilate(np.hypot(dx, dy), np.ones((3, 3), np.uint8))
    error = view.image - background.color
    sharp = np.abs(error).max(axis=-1) / (_NOISE + _PER_SPREAD * spread + _PER_GRADIENT * gradient)
    sharp = cv2.GaussianBlur(sharp, (0, 0), 1.2 * unit)
    mean, wide_gradient, wide_spread = (
        cv2.GaussianBlur(values, (0, 0), 3.0 * unit) for values in (error.mean(axis=-1), gradient, spread)
    )
    smooth = np.abs(mean) / (_SMOOTH_NOISE + _SMOOTH_PER_SPREAD * wide_spread + _SMOOTH_PER_GRADIENT * wide_gradient)
    unknown = background.count < _FEWEST
    sharp[unknown] = smooth[unknown] = 0.0
    return Differences(sharp, smooth)


def matte(
    view: StaticView,
    background: Background,
    moving: np.ndarray,
    observed: np.ndarray,
    still: np.ndarray,
) -> np.ndarray:
    """The matte (H, W) float32 in [0, 1] of a frame, 1 = is replaced.

    `moving`: bool (H, W), the motion mask. `observed`: bool (H, W); the rest is never replaced. `still`: bool (H, W),
    what stands still whatever the mask says (`still_things`).
    """
    unit = max(moving.shape) / 480
    scores = differences(view, background)
    apart = (scores.sharp > _BESIDE) | (scores.smooth > _SMOOTH_BESIDE)
    apart &= ~still
    # alone: thick enough, because errors of the background are thin
    alone = cv2.morphologyEx((scores.sharp > _ALONE).astype(np.uint8), cv2.MORPH_OPEN, _disk(2.5 * unit)) > 0
    seeds = (alone | moving) & ~still
    labels = np.asarray(cv2.connectedComponents((apart | seeds).astype(np.uint8))[1], np.int64)
    kept = np.zeros(int(labels.max()) + 1, bool)
    kept[np.unique(labels[seeds])] = True
    kept &= np.bincount(labels.ravel()) > 12 * unit * unit
    kept[0] = False
    found = kept[labels]
    equal = (scores.sharp < _EQUAL) & (scores.smooth < _EQUAL) & (background.count >= _FEWEST)
    core = cv2.dilate(found.astype(np.uint8), _disk(3 * unit)) > 0
    replaced = core | (view.hidden & ~equal)
    replaced &= ~still
    soft = cv2.GaussianBlur(cv2.dilate(replaced.astype(np.float32), _disk(1 * unit)), (0, 0), 0.8 * unit)
    return (soft * observed).astype(np.float32)


def _disk(radius: float) -> np.ndarray:
    whole = max(1, round(radius))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * whole + 1, 2 * whole + 1))

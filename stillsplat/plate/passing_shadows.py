"""Where a frame lies in the shadow of something that moves, so that its light is not fetched.

A point of the scene is seen by many frames. In those in which a shadow passes over it, it is darker by nearly one
factor for all channels. So the brightest frames say what its light is, and others that are darker are in the shadow.
This is measured on small pictures: shadows are smooth, and errors of depth and cameras are not seen there.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from scene.progress import Progress
from stillsplat.plate.warping import StaticView, coarse, sampled, seen_from, warp_map

#: frames that are compared with each frame at most, and those that must see a place
_COMPARED, _FEWEST = 24, 3
#: share of the frames that see a place, the brightest ones, whose darkest is still in the light
_LIT = 0.25
#: value in [0, 1] that is added before logarithms, so that noise in the dark counts little
_DARK = 0.03
#: logarithm of shadow over light: at most, and at least; below that it is something else
_DARKENING, _BLACK = -0.12, -2.2
#: difference of the logarithms between channels, and its growth with the darkening
_TINT, _TINT_GROWTH = 0.15, 0.1
#: how far a shadow may lie from what moves, and its smallest part, in pixels of the small pictures
_NEAR, _SMALLEST = 2, 24
#: standard deviation of the smoothing in pixels of the small pictures
_SMOOTH = 1.0


def passing_shadows(views: Sequence[StaticView], stored: Sequence[int], progress: Progress) -> list[np.ndarray]:
    """One small map per frame, bool (h, w): what lies in a shadow there and in the light in others of the frames
    `stored`. Progress stage: "looking for shadows"."""
    small = [coarse(view) for view in views]
    logarithms = [_logarithms(view) for view in small]
    chosen = np.unique(np.linspace(0, len(stored) - 1, min(_COMPARED, len(stored))).round().astype(int))
    others = [stored[int(index)] for index in chosen]
    found = []
    for target, view in enumerate(small):
        progress("looking for shadows", target + 1, len(small))
        found.append(_shaded(view, logarithms[target], [(small[index], logarithms[index]) for index in others]))
    return found


def _logarithms(view: StaticView) -> np.ndarray:
    """(h, w, 3): smoothed logarithms of the colors that are not hidden."""
    weight = (~view.hidden).astype(np.float32)
    values = np.log(np.clip(view.image, 0.0, None) + _DARK) * weight[..., None]
    blurred = cv2.GaussianBlur(values, (0, 0), _SMOOTH)
    return (blurred / np.maximum(cv2.GaussianBlur(weight, (0, 0), _SMOOTH), 1e-3)[..., None]).astype(np.float32)


def _shaded(view: StaticView, own: np.ndarray, others: Sequence[tuple[StaticView, np.ndarray]]) -> np.ndarray:
    """Bool (h, w): what of a frame is in a shadow, by what the `others` see."""
    levels, seen = [], []
    for other, logarithms in others:
        places, z = warp_map(view.camera, other.camera, view.z_depth)
        visible = seen_from(places, z, other)
        colors = sampled(logarithms, places)
        both = visible & ~view.hidden
        if both.sum() >= 50:
            # a difference in exposure is no shadow
            colors = colors + np.median(own[both] - colors[both], axis=0)
        levels.append(colors)
        seen.append(visible)
    if not levels:
        return np.zeros(view.hidden.shape, bool)
    stacked, visible = np.stack(levels), np.stack(seen)
    gray = np.where(visible, stacked.mean(axis=-1), -np.inf)
    count = visible.sum(axis=0)
    rank = np.clip(np.ceil(_LIT * count).astype(int) - 1, 0, None)
    lit = np.take_along_axis(-np.sort(-gray, axis=0), rank[None], axis=0)[0]
    bright = gray >= lit
    light = (stacked * bright[..., None]).sum(axis=0) / np.maximum(bright.sum(axis=0), 1)[..., None]
    difference = own - light
    darkening = difference.mean(axis=-1)
    tint = difference.max(axis=-1) - difference.min(axis=-1)
    # how much the brighter half of the frames differs: texture, or errors of the depth
    spread = np.where(bright, np.abs(gray - light.mean(axis=-1)), 0.0).sum(axis=0) / np.maximum(bright.sum(axis=0), 1)
    # a wrong depth moves a place by up to a pixel, which matters where colors change
    change = np.minimum(_gradient(own), _gradient(light))
    shaded = (darkening < _DARKENING - 2.0 * spread - change) & (darkening > _BLACK)
    shaded &= tint < _TINT - _TINT_GROWTH * darkening
    shaded &= (count >= _FEWEST) & ~view.hidden
    opened = cv2.morphologyEx(shaded.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    wide = cv2.dilate(opened, np.ones((3, 3), np.uint8))
    labels = np.asarray(cv2.connectedComponents(wide)[1], np.int64)
    touching = np.zeros(int(labels.max()) + 1, bool)
    touching[labels[cv2.dilate(view.hidden.astype(np.uint8), np.ones((2 * _NEAR + 1,) * 2, np.uint8)) > 0]] = True
    touching &= np.bincount(labels.ravel()) >= _SMALLEST
    touching[0] = False
    return touching[labels]


def _gradient(logarithms: np.ndarray) -> np.ndarray:
    """(h, w): change of the mean over the channels from pixel to pixel."""
    gray = np.ascontiguousarray(logarithms.mean(axis=-1), np.float32)
    return np.hypot(*(cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1))))

"""Which part of a matte is no object, but the shadow of one.

A shadow lets the background through: it is darker by a factor that changes slowly over the picture, is nearly the same
for all channels, and keeps the texture. So frame and background are compared where the background is known: the
logarithm of their ratio is below 0, its mean over a few pixels is nearly equal in all channels (the sky makes shadows
somewhat bluer), and both have the same detail, or none. What is surely a shadow is continued into what may be one, and
counts where it is attached to what moves. An object of the color of its background, but darker, and without texture in
front of a ground without texture looks the same. Light that movers reflect onto others is not told apart.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from stillsplat.plate.background import Background
from stillsplat.plate.warping import StaticView

#: value in [0, 1] that is added before logarithms, so that noise in the dark counts little
_DARK = 0.02
#: radius of the neighborhood, in pixels of a picture of 480
_RADIUS = 2.0
#: logarithm of the ratio below which nothing lets the background through
_BLACK = -2.2
#: standard deviation of the background from which it has detail, and that of the frame up to which it has none
_DETAIL = 0.03
#: share of a shadow that must be sure
_SURE_SHARE = 0.3
#: how far a shadow is continued, share of the neighborhood that must be shadow, and difference of the logarithms
_REACH, _SURROUNDED, _SAME_DARKENING = 6.0, 0.3, 0.3
#: smallest part, in pixels of a picture of 480, of a shadow and of the object that it belongs to
_SMALLEST, _OBJECT_RADIUS = 60, 3.0
#: how far a shadow may lie from its object
_ATTACHED = 6.0
#: logarithm of the ratio, in a channel, up to which frame and background are equal
_EQUAL = 0.1


@dataclass(frozen=True)
class _Limits:
    #: logarithm of the ratio
    darkening: float
    #: difference of the logarithms between channels, and its growth with the darkening
    tint: float
    #: correlation of the detail of frame and background
    correlation: float
    #: frames that see the background
    seen: int


_SURE = _Limits(darkening=-0.12, tint=0.2, correlation=0.5, seen=3)
_POSSIBLE = _Limits(darkening=-0.1, tint=0.3, correlation=0.2, seen=1)
_TINT_GROWTH = 0.05


def shadow_share(view: StaticView, background: Background, matte: np.ndarray) -> np.ndarray:
    """The part (H, W) float32 of the `matte` (H, W) in [0, 1] of a frame that is shadow; nowhere above the matte.
    Objects have the rest of it."""
    unit = max(matte.shape) / 480
    comparison = _Comparison.of(view.image, background.color, _RADIUS * unit)
    replaced = matte > 0.02
    sure = comparison.within(_SURE, background.count) & replaced
    possible = (comparison.within(_POSSIBLE, background.count) & replaced) | sure
    grown = cv2.morphologyEx(possible.astype(np.uint8), cv2.MORPH_CLOSE, _square(1 * unit))
    grown = cv2.morphologyEx(grown, cv2.MORPH_OPEN, _square(2 * unit))
    count, found, stats, _ = cv2.connectedComponentsWithStats(grown)
    if count == 1:
        return np.zeros(matte.shape, np.float32)
    labels, areas = np.asarray(found, np.int64), stats[:, cv2.CC_STAT_AREA]
    certain = np.bincount(labels[sure], minlength=count)
    kept = (areas >= _SMALLEST * unit * unit) & (certain >= _SURE_SHARE * areas)
    kept[0] = False
    shadows = _continued(kept[labels], comparison, replaced & (background.count > 0), unit)
    count, found = cv2.connectedComponents(shadows.astype(np.uint8))
    labels = np.asarray(found, np.int64)
    beside = cv2.dilate(shadows.astype(np.uint8), _square(_RADIUS * unit)) == 0
    other = (matte > 0.5) & beside & (comparison.differs | (background.count == 0))
    objects = cv2.morphologyEx(other.astype(np.uint8), cv2.MORPH_OPEN, _square(_OBJECT_RADIUS * unit))
    attached = np.zeros(count, bool)
    attached[labels[cv2.dilate(objects, _square(_ATTACHED * unit)) > 0]] = True
    shadows &= attached[labels]
    soft = cv2.GaussianBlur(shadows.astype(np.float32), (0, 0), 0.8 * unit)
    return np.minimum(soft, matte).astype(np.float32)


def _continued(shadows: np.ndarray, comparison: "_Comparison", allowed: np.ndarray, unit: float) -> np.ndarray:
    """`shadows`, bool (H, W), with pixels that are surrounded by them and as dark as they are there, whatever their
    detail: a dark shadow has too little of it."""
    for _ in range(2):
        weight = cv2.GaussianBlur(shadows.astype(np.float32), (0, 0), _REACH * unit)
        darkening = cv2.GaussianBlur((comparison.darkening * shadows).astype(np.float32), (0, 0), _REACH * unit)
        same = np.abs(comparison.darkening - darkening / np.maximum(weight, 1e-4)) < _SAME_DARKENING
        more = (weight > _SURROUNDED) & same & comparison.is_gray(_SURE.tint) & allowed
        more &= comparison.darkening < _POSSIBLE.darkening
        opened = cv2.morphologyEx((shadows | more).astype(np.uint8), cv2.MORPH_OPEN, _square(2 * unit)) > 0
        shadows = shadows | opened
    return shadows


@dataclass(frozen=True)
class _Comparison:
    """How a frame differs from its background in the neighborhood of each pixel; (H, W) float32 each."""

    #: mean over the channels of the mean logarithm of frame / background
    darkening: np.ndarray
    #: largest difference between channels of these means
    tint: np.ndarray
    #: correlation of gray values, and their standard deviations
    correlation: np.ndarray
    frame_detail: np.ndarray
    background_detail: np.ndarray

    @classmethod
    def of(cls, frame: np.ndarray, background: np.ndarray, radius: float) -> "_Comparison":
        def mean(values: np.ndarray) -> np.ndarray:
            return cv2.GaussianBlur(values, (0, 0), radius)

        frame, background = (np.clip(image, 0.0, 1.0).astype(np.float32) for image in (frame, background))
        ratio = mean(np.log((frame + _DARK) / (background + _DARK)))
        ours, other = frame.mean(axis=-1), background.mean(axis=-1)
        mean_ours, mean_other = mean(ours), mean(other)
        variance = np.maximum(mean(ours * ours) - mean_ours * mean_ours, 1e-7)
        variance_other = np.maximum(mean(other * other) - mean_other * mean_other, 1e-7)
        covariance = mean(ours * other) - mean_ours * mean_other
        return cls(
            ratio.mean(axis=-1),
            ratio.max(axis=-1) - ratio.min(axis=-1),
            covariance / np.sqrt(variance * variance_other),
            np.sqrt(variance),
            np.sqrt(variance_other),
        )

    @property
    def differs(self) -> np.ndarray:
        """Bool (H, W): where the frame shows something else."""
        return (np.abs(self.darkening) > _EQUAL) | (self.tint > _EQUAL)

    def is_gray(self, tint: float) -> np.ndarray:
        """Bool (H, W): whether all channels are darker by nearly one factor."""
        return self.tint < tint - _TINT_GROWTH * self.darkening

    def within(self, limits: _Limits, count: np.ndarray) -> np.ndarray:
        """Bool (H, W): what can be a shadow. `count` (H, W): frames that see the background."""
        darker = (self.darkening < limits.darkening) & (self.darkening > _BLACK)
        kept = np.where(
            self.background_detail > _DETAIL, self.correlation > limits.correlation, self.frame_detail < _DETAIL
        )
        return darker & self.is_gray(limits.tint) & kept & (count >= limits.seen)


def _square(radius: float) -> np.ndarray:
    whole = max(1, round(radius))
    return np.ones((2 * whole + 1, 2 * whole + 1), np.uint8)

"""Every point where the alignment of chunks deliberately differs from the official streaming of Depth Anything 3.

`chunk_alignment.align_chunks` follows `OURS`, or `OFFICIAL` for results that must equal the official ones.

The official scale of "scale+se3" (`official_depth_scale`) chooses between two estimates by their qualities: least
squares over the largest set of agreeing pixels (officially by RANSAC), and the 90 % quantile of the weighted ratios.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

OfficialScaleMethod = Literal["auto", "ransac", "weighted"]

#: pixels are used above this fraction of the larger median confidence, and with both depths in this open range
_CONFIDENCE_SHARE, _LEAST_CONFIDENCE = 0.1, 1e-6
_DEPTH_RANGE = (1e-3, 100.0)
#: with fewer pixels, or a scale outside this open range, the scale is 1
_LEAST_PIXELS = 100
_SCALE_RANGE = (0.1, 10.0)
#: residual of an inlier, in units of depth
_RESIDUAL = 0.1
_WEIGHT_POWER, _QUANTILE = 2.0, 0.9
#: two estimates are averaged if both qualities exceed this
_GOOD_QUALITY = 0.7


@dataclass(frozen=True)
class OfficialScale:
    """The factor from the moved depths to the reference depths, and the quality of the estimate."""

    scale: float
    #: fraction of inliers for "ransac"; 1 minus the relative entropy of the weights for "weighted"
    quality: float
    #: "ransac", "weighted", or "average" of both
    method: str


def official_depth_scale(
    reference_depth: np.ndarray,
    moved_depth: np.ndarray,
    reference_confidence: np.ndarray,
    moved_confidence: np.ndarray,
    *,
    method: OfficialScaleMethod = "auto",
) -> OfficialScale:
    """The official scale from z depths and confidences (0 = unknown) of the same pixels, four arrays of one shape.
    Raises `ValueError` for an unknown method."""
    if method not in get_args(OfficialScaleMethod):
        raise ValueError(f"method is {method!r}, not one of {', '.join(get_args(OfficialScaleMethod))}")
    maps = reference_depth, moved_depth, reference_confidence, moved_confidence
    first, second, first_confidence, second_confidence = (np.asarray(part, np.float64).ravel() for part in maps)
    medians = (float(np.median(part)) if part.size else 0.0 for part in (first_confidence, second_confidence))
    limit = max(_CONFIDENCE_SHARE * max(medians), _LEAST_CONFIDENCE)
    known = (first_confidence > limit) & (second_confidence > limit)
    for depth in (first, second):
        known &= (depth > _DEPTH_RANGE[0]) & (depth < _DEPTH_RANGE[1])
    if known.sum() < _LEAST_PIXELS:
        return OfficialScale(1.0, 0.0, "weighted" if method == "auto" else method)
    first, second = first[known], second[known]
    confidence = first_confidence[known] * second_confidence[known]
    if method == "ransac":
        return _by_consensus(first, second)
    if method == "weighted":
        return _by_quantile(first, second, confidence)
    by_consensus, by_quantile = _by_consensus(first, second), _by_quantile(first, second, confidence)
    if min(by_consensus.quality, by_quantile.quality) > _GOOD_QUALITY:
        mean = (by_consensus.scale + by_quantile.scale) / 2
        return OfficialScale(mean, max(by_consensus.quality, by_quantile.quality), "average")
    return by_consensus if by_consensus.quality > by_quantile.quality else by_quantile


def _by_consensus(reference: np.ndarray, moved: np.ndarray) -> OfficialScale:
    """Least squares over the largest set of pixels (N,) that agree on a scale.

    The residual of a pixel is small for an interval of scales, so the most pixels agree where the most intervals
    overlap. One sort finds that optimum, which RANSAC approximates by sampling."""
    lower, upper = (reference - _RESIDUAL) / moved, (reference + _RESIDUAL) / moved
    ends = np.concatenate([lower, upper])
    order = np.argsort(ends, kind="stable")  # intervals that touch count as overlapping
    most = int(np.cumsum(np.where(order < len(lower), 1, -1)).argmax())
    scale = (ends[order[most]] + ends[order[most + 1]]) / 2
    inliers = (lower <= scale) & (scale <= upper)
    first, second = reference[inliers], moved[inliers]
    return _plausible((first * second).sum() / (second * second).sum(), inliers.mean(), "ransac")


def _by_quantile(reference: np.ndarray, moved: np.ndarray, confidence: np.ndarray) -> OfficialScale:
    """The ratio of depths (N,) below which 90 % of the squared confidence lies."""
    weights = confidence**_WEIGHT_POWER
    weights /= weights.sum() + 1e-8
    ratios = reference / (moved + 1e-8)
    order = np.argsort(ratios)
    place = np.searchsorted(np.cumsum(weights[order]), _QUANTILE)
    entropy = -float((weights * np.log(weights + 1e-8)).sum())
    return _plausible(float(ratios[order][min(place, len(order) - 1)]), 1 - entropy / np.log(len(weights)), "weighted")


def _plausible(scale: float, quality: float, method: str) -> OfficialScale:
    return OfficialScale(float(scale) if _SCALE_RANGE[0] < scale < _SCALE_RANGE[1] else 1.0, float(quality), method)


@dataclass(frozen=True)
class Conventions:
    """Our choices, with comments on what the official code does and why ours differs."""

    #: Largest number of pixels in an alignment. The official code uses all, which costs memory and changes nothing.
    max_points: int | None = 200_000
    #: When its iteration has converged, the official code returns the estimate before the last one.
    returns_last_estimate: bool = True
    #: For "scale+se3" the official code lets the iteration change the scale and then ignores that change, so rotation
    #: and translation belong to another scale.
    rescales_rigid_steps: bool = False
    #: The function that finds the scale of "scale+se3"; None: `chunks.depth_scale`. The quantile of the official one is
    #: above the true ratio by construction, and its thresholds assume meters.
    depth_scale: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], OfficialScale] | None = None


OURS = Conventions()
OFFICIAL = Conventions(
    max_points=None, returns_last_estimate=False, rescales_rigid_steps=True, depth_scale=official_depth_scale
)

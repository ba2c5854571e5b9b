"""Votes of similar superpixels, and how strong the evidence for motion has to be in a clip and at a place.

The evidence about one superpixel is uncertain; that about all superpixels that look alike, near it in place and time,
is less so (after Faktor and Irani, "Video segmentation by non-local consensus voting", BMVC 2014). How much evidence
something that moves has depends on the clip: the same amount is strong where motion is slow and texture is weak, and is
only the blurred flow around an object, its wake or its shadow where motion is fast. So thresholds follow the strongest
evidence of the clip, and that of the surroundings.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.geometric.segment_graph import FrameSegments, mean_per_segment

#: number of similar superpixels that are asked
_NEIGHBORS = 60
#: standard deviations within an object: of color (Lab / 100), of position in pixels at a longer side of 512, of time in
#: frames
_COLOR, _PLACE, _TIME = 0.06, 90.0, 12.0
#: relative error of the distances that the search for neighbors may make: some of them are not the very nearest
_SEARCH_ERROR = 0.5
#: number of superpixels that are looked up at once
_CHUNK = 1 << 14
#: share of the area of a clip that has stronger evidence than what counts as its strongest
_TOP = 0.01
#: strongest evidence of clips, and the threshold in them: without strong evidence, nothing moves; where all evidence is
#: weak, a little counts
_STRONGEST, _THRESHOLDS = (0.5, 1.5, 2.5, 5.0), (0.8, -1.5, -1.5, 0.0)
#: the threshold near strong evidence of size s is `_SLOPE` * s - `_OFFSET`, at most `_HIGHEST`
_SLOPE, _OFFSET, _HIGHEST = 0.6, 3.0, 4.0
#: distance in pixels up to which evidence is near, at a longer side of 512
_NEAR = 64.0


def votes(frames: Sequence[FrameSegments], values: np.ndarray, unit: float) -> np.ndarray:
    """The means (N, K) of `values` (N, K), one row per superpixel of consecutive `frames`, over the superpixels that
    are similar in color and near in place and time; each counts exp(-d^2 / 2) at distance d, in standard deviations.

    `unit`: the longer image side divided by 512.
    """
    time = np.repeat(np.arange(len(frames)), [segments.count for segments in frames])
    color = np.concatenate([segments.color for segments in frames])
    position = np.concatenate([segments.position for segments in frames])
    features = np.column_stack([color / _COLOR, position / (_PLACE * unit), time / _TIME])
    tree = KDTree(features)
    count = min(_NEIGHBORS + 1, len(features))
    result = np.empty(values.shape)
    for first in range(0, len(features), _CHUNK):
        part = slice(first, first + _CHUNK)
        distance, found = tree.query(features[part], k=count, eps=_SEARCH_ERROR, workers=-1)
        distance, found = distance.reshape(-1, count), np.asarray(found).reshape(-1, count)
        weight = np.exp(-0.5 * np.square(distance))
        result[part] = np.einsum("nk,nkc->nc", weight, values[found]) / weight.sum(axis=1, keepdims=True)
    return result


def strongest(evidence: np.ndarray, size: np.ndarray) -> float:
    """The `evidence` (N,) that only the share `_TOP` of the area exceeds, for superpixels of `size` (N,) pixels."""
    order = np.argsort(evidence)
    below = np.cumsum(size[order])
    return float(evidence[order][np.searchsorted(below, (1.0 - _TOP) * below[-1])])


def clip_threshold(strength: float) -> float:
    """The evidence, at least, of what moves in a clip whose strongest evidence is `strength`."""
    return float(np.interp(strength, _STRONGEST, _THRESHOLDS))


def thresholds(frames: Sequence[FrameSegments], voted: np.ndarray, strength: float, unit: float) -> np.ndarray:
    """(N,): the evidence, at least, of what moves, for each superpixel of `frames`: that of the clip, and more near
    strong evidence. `voted` (N,) is the evidence after `votes`; more than `strength`, that of the clip, counts no more.
    """
    lowest = clip_threshold(strength)
    result, first = [], 0
    for segments in frames:
        labels = segments.labels
        height, width = labels.shape
        own = voted[first : first + segments.count]
        first += segments.count
        # a quarter of the size is enough for a distance as long as this, and 16 times as fast
        small = max(round(width / (4 * unit)), 1), max(round(height / (4 * unit)), 1)
        coarse = cv2.resize(own[labels].astype(np.float32), small, interpolation=cv2.INTER_AREA)
        reach = round(_NEAR / 4)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        near = cv2.GaussianBlur(cv2.dilate(coarse, kernel), (0, 0), reach / 3)
        surroundings = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
        size = np.minimum(mean_per_segment(labels, segments.count, surroundings), strength)
        result.append(np.clip(_SLOPE * size - _OFFSET, lowest, max(_HIGHEST, lowest)))
    return np.concatenate(result)

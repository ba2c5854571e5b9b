"""Objects whose flow is that of something far away: a boat that a panning camera follows stands still in the image, as
only a static world at infinity would.

Cameras and depth explain such an object with a depth that is beyond all that surrounds it: an island on the map of
depth. A static world has such islands, too: the sky between trees, a room behind a window. They differ in the order of
occlusion. The border of a window moves with its frame, which is near and covers what is behind. The object covers its
surroundings: points that are nearer than it, according to their depth, disappear where only the island is seen.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from dynamic_predictor.geometric.depth import partner_frames, texture_variance
from dynamic_predictor.geometric.level_sets import highest_way_out
from dynamic_predictor.geometric.motion_evidence import Evidence
from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.images import fitted_size

#: distances, in frames, at which points disappear
_STRIDES = (2, 4, 8)
#: number of level sets of inverse depth
_LEVELS = 24
#: how far inverse depth rises on all ways out of an island: in pixels of flow, in standard deviations, and to what
#: multiple; the first values hold for the whole of an island, the second ones for the part that shows that it is one
_RISE_PIXELS, _RISE_DEVIATIONS, _RISE_FACTOR = (1.0, 2.0), (3.0, 6.0), (1.5, 2.5)
#: longer side of the small maps that islands are connected on, and the width there of the rim around an island in which
#: points disappear
_SIZE, _RIM = 128, 2
#: the least share of the image, and of all images, that an island takes up, and the least share of it that has texture:
#: elsewhere depth is guessed
_SMALLEST, _SMALLEST_OF_CLIP, _TEXTURED = 5e-4, 1e-3, 0.5
#: how much of an island may be near the border of the image, where flow has fewer frames and depth is less certain:
#: pixels within this margin of the small maps, per pixel of the circumference
_MARGIN, _AT_BORDER = 3, 0.1
#: a point has disappeared where the flow to the other frame and back misses it by this many pixels, and is nearer than
#: what is seen in its place if its inverse depth is larger by this factor
_GONE, _NEARER = 2.0, 1.3
#: the least number of points that contradict the order of occlusion: per point that follows it, and per pixel of the
#: circumference of an island (at a longer side of 512)
_CONTRADICTIONS, _PER_CIRCUMFERENCE = 1.7, 0.8


class FarIslands:
    """Finds the islands of consecutive frames that move; `add_frame` for each of them, then `moving`."""

    def __init__(self, flow: FlowField, cameras: Sequence[Camera]) -> None:
        self._flow = flow
        self._cameras = cameras
        self._inverse_depths: dict[int, np.ndarray] = {}
        self._islands: dict[int, np.ndarray] = {}
        self._static: dict[int, np.ndarray] = {}
        self._parts: dict[int, np.ndarray] = {}

    def add_frame(self, index: int, inverse_depth: np.ndarray, deviation: np.ndarray, evidence: Evidence) -> None:
        """Finds the islands of frame `index`, with `inverse_depth`, its standard `deviation` (H, W), and the `evidence`
        for motion that they give."""
        outer = least_on_the_way_out(inverse_depth)
        rise = outer - inverse_depth
        pixels = rise * np.sqrt(evidence.leverage)
        whole, part = (
            (pixels > least) & (rise > deviations * deviation) & (outer > factor * inverse_depth)
            for least, deviations, factor in zip(_RISE_PIXELS, _RISE_DEVIATIONS, _RISE_FACTOR, strict=True)
        )
        textured = texture_variance(self._flow.gray(index)) < 1.0
        self._parts[index] = _parts(part, textured)
        self._islands[index] = _connected(whole, self._parts[index])
        self._inverse_depths[index] = inverse_depth
        self._static[index] = (evidence.moving <= evidence.static) & textured

    def moving(self) -> dict[int, np.ndarray]:
        """(H, W) bool, for frames that have any: the islands that contradict the order of occlusion."""
        found = sorted(index for index, island in self._islands.items() if island.any())
        if not found:
            return {}
        first, last = found[0], found[-1]
        height, width = self._islands[first].shape
        size = fitted_size(width, height, _SIZE)
        islands, parts = (np.zeros((last - first + 1, size[1], size[0]), bool) for _ in range(2))
        for index in found:
            for small, full in ((islands, self._islands), (parts, self._parts)):
                small[index - first] = (
                    cv2.resize(full[index].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.25
                )
        labels = np.zeros(islands.shape, np.int32)
        ndimage.label(islands, structure=np.ones((3, 3, 3)), output=labels)
        moves = self._moves(np.where(parts, labels, 0), int(labels.max()) + 1, first, (width, height))
        result = {}
        for index in found:
            accepted = moves[labels[index - first]].astype(np.uint8)
            if accepted.any():
                grown = cv2.dilate(accepted, np.ones((3, 3), np.uint8))
                near = cv2.resize(grown, (width, height), interpolation=cv2.INTER_NEAREST)
                result[index] = self._islands[index] & (near > 0)
        return result

    def _moves(self, labels: np.ndarray, count: int, first: int, size: tuple[int, int]) -> np.ndarray:
        """(count,) bool: the islands that move. Their sure parts are the `labels` (N, h, w) of small maps, whose first
        one belongs to frame `first`. `size`: of the frames."""
        contradicting, consistent, circumference = self._occlusions(labels, count, first, size)
        least = _PER_CIRCUMFERENCE * max(size) / 512 * circumference
        moves = (contradicting > _CONTRADICTIONS * consistent) & (contradicting > least)
        at_border = labels.copy()
        at_border[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = 0
        outside = np.bincount(at_border.ravel(), minlength=count) * (max(size) / _SIZE)
        moves &= outside <= _AT_BORDER * circumference
        large = _SMALLEST_OF_CLIP * len(self._islands) * labels[0].size
        moves &= np.bincount(labels.ravel(), minlength=count) >= large
        moves[0] = False
        return moves

    def _occlusions(
        self, labels: np.ndarray, count: int, first: int, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per label, with the parameters of `_moves`: how many points disappear at the island though they are nearer,
        how many disappear behind something nearer, and the pixels of its circumference, summed over frames."""
        contradicting, consistent, circumference = np.zeros((3, count))
        factor = labels.shape[2] / size[0]
        # a label reaches over its rim
        kernel = np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)
        wide = np.stack([cv2.dilate(frame.astype(np.float32), kernel).astype(np.int32) for frame in labels])
        for index in sorted(self._inverse_depths):
            for other in partner_frames(index, len(self._cameras), _STRIDES):
                if other not in self._inverse_depths or not 0 <= other - first < len(labels):
                    continue
                if not labels[other - first].any():
                    continue
                place, own, there = self._disappearing(index, other)
                x, y = (np.minimum((place[:, k] * factor).astype(int), labels.shape[2 - k] - 1) for k in range(2))
                label = wide[other - first, y, x]
                contradicting += np.bincount(label[own > _NEARER * there], minlength=count)
                consistent += np.bincount(label[there > _NEARER * own], minlength=count)
        for frame in labels:
            areas = np.bincount(frame.ravel(), minlength=count) / factor**2
            circumference += np.sqrt(4.0 * np.pi * areas)
        return contradicting, consistent, circumference

    def _disappearing(self, index: int, other: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of frame `index` that are not seen in frame `other`: where they would be there (n, 2), in pixels,
        their inverse depths there, and those of what is seen in their place."""
        inverse_depth = self._inverse_depths[index]
        height, width = inverse_depth.shape
        error = self._flow(index, other).consistency_error
        gone = np.isfinite(error) & (error > _GONE) & self._static[index]
        y, x = np.nonzero(gone)
        pair = RigidPair.between(self._cameras[index], self._cameras[other])
        homogeneous = np.stack([x + 0.5, y + 0.5, np.ones(len(x))]).astype(np.float64)
        own = inverse_depth[y, x].astype(np.float64)
        target = pair.infinity @ homogeneous + pair.parallax[:, None] * own
        # z in the other frame over z in this one
        ratio = np.maximum(target[2], 1e-6)
        place = target[:2] / ratio
        inside = (target[2] > 1e-6) & (place > 2).all(axis=0) & (place[0] < width - 2) & (place[1] < height - 2)
        place, own = place[:, inside], own[inside] / ratio[inside]
        column, row = place[0].astype(int), place[1].astype(int)
        return place.T, own, self._inverse_depths[other][row, column]


def least_on_the_way_out(inverse_depth: np.ndarray) -> np.ndarray:
    """(H, W): the largest inverse depth that has to be passed, at least, on a path from each pixel to the border of the
    image. It is that of the pixel itself where something farther away leads to the border, and larger on an island."""
    top = float(np.quantile(inverse_depth, 0.98))
    levels = np.linspace(top, float(np.quantile(inverse_depth, 0.005)), _LEVELS)
    return np.maximum(-highest_way_out(-inverse_depth, -levels), inverse_depth)


def _parts(mask: np.ndarray, textured: np.ndarray) -> np.ndarray:
    """The connected parts of `mask` (H, W) that are large enough and mostly `textured` (H, W), without thin ones."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(opened)
    area = statistics[:, cv2.CC_STAT_AREA]
    with_texture = np.bincount(labels.ravel(), textured.ravel(), len(area))
    chosen = (area >= _SMALLEST * mask.size) & (with_texture >= _TEXTURED * area)
    chosen[0] = False
    return chosen[np.asarray(labels, np.int32)]


def _connected(mask: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The connected parts of `mask` (H, W), without thin ones, that overlap `parts` (H, W)."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(opened)
    chosen = np.bincount(labels.ravel(), parts.ravel()) > 0
    chosen[0] = False
    return chosen[np.asarray(labels, np.int32)]

"""Objects that rest for a while and then leave: the draft shows them where they rested, although later frames see
through that place to what is behind.

A place that several frames see through was left by something that moves, however long it rested. The Gaussians there
are found by their share of the pixels that are seen through, so the object is masked in all frames that show it there,
and the frames that see the scene behind it are believed, also if they are fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree

from gaussian.draft import Draft, DraftView

#: score of a pixel that differs from the render, and of one that is equal
DIFFERENT, EQUAL = 2.3, 1.2
#: a surface that is farther than that of the Gaussians by more than this share is behind them
_BEHIND = 0.08
#: motion mask below which a frame is believed
_STATIC = 0.4
#: share of a Gaussian's believed pixels that are seen through, from which it has left; frames that must see through it,
#: and their pixels
_LEFT, _FRAMES, _PIXELS = 0.15, 2, 0.5
#: share of the pixels that may say otherwise about when it left, and spread in [0, 1] of the colors behind it
_OUT_OF_ORDER, _SAME_COLOR = 0.08, 0.1
#: share that equals the frame, of a Gaussian's believed pixels that are not seen through
_WELL_LEARNED = 0.4
#: neighbors that are asked, and their share that must have left, too
_NEIGHBORS, _AGREEING = 12, 0.4
#: share of the neighbors that must have left around what was learned less well, and steps by which an object grows
_AROUND, _ROUNDS = 0.2, 4
#: share of the image of the smallest object, and the number of frames that are looked at for it
_SMALLEST, _LOOKED_AT = 4e-3, 8


@dataclass(frozen=True)
class Observations:
    """What one frame says about the draft, at its size: its view, its scores, how much it looks like the draft in a
    shadow, the depth of the scene (0 = unknown) and the motion mask, (h, w) each."""

    view: DraftView
    score: np.ndarray
    shadow: np.ndarray
    z_depth: np.ndarray
    motion: np.ndarray

    @property
    def believed(self) -> np.ndarray:
        """Bool (h, w): the frame is taken as static and has a depth, and so have the Gaussians."""
        solid = (self.view.alpha > 0.8) & (self.view.z_depth > 0)
        return solid & (self.motion < _STATIC) & (self.z_depth > 0)

    @property
    def seen_through(self) -> np.ndarray:
        """Bool (h, w): the frame shows something else behind the Gaussians."""
        behind = self.z_depth > self.view.z_depth * (1 + _BEHIND)
        found = (self.believed & (self.score > DIFFERENT) & behind).astype(np.uint8)
        return cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def pixel_sums(draft: Draft, frames: Sequence[int], observations: Sequence[Observations]) -> np.ndarray:
    """(3, N, F): for each Gaussian of the draft and each frame, the pixels that see through it, that equal it, and that
    are believed."""
    maps = [
        np.dstack([seen.seen_through, seen.believed & (seen.score < EQUAL), seen.believed]) for seen in observations
    ]
    return np.moveaxis(draft.sums(frames, maps), 2, 0)


def departed(draft: Draft, frames: Sequence[int], observations: Sequence[Observations], sums: np.ndarray) -> np.ndarray:
    """Bool (N,): the Gaussians of the draft that stand for objects that have left or come. `sums`: `pixel_sums`."""
    through, equal, believed = sums
    left = one_change(through, equal) & (through.sum(axis=1) > _PIXELS)
    left &= (through > 0.25 * np.maximum(believed, 0.05)).sum(axis=1) >= _FRAMES
    # what rests is learned well; what never did is a blur that equals no frame
    found = left & (equal.sum(axis=1) > _WELL_LEARNED * believed.sum(axis=1))
    if not found.any():
        return found
    shown = [seen.view.image * seen.seen_through[..., None] for seen in observations]
    found &= spread_of_colors(draft.sums(frames, shown), through) < _SAME_COLOR
    means = draft.gaussians.means.numpy()
    neighbors = KDTree(means).query(means, k=min(_NEIGHBORS, len(means)))[1].reshape(len(means), -1)
    found = found[neighbors].mean(axis=1) > _AGREEING
    for _ in range(_ROUNDS):
        found |= left & (found[neighbors].mean(axis=1) > _AROUND)
    return _in_one_piece(draft, frames, found)


def blob(share: np.ndarray) -> np.ndarray:
    """Bool (h, w): where the `share` (h, w) of what has left is more than half, without specks and thin lines."""
    radius = max(1, round(2 * max(share.shape) / 256))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx((share > 0.5).astype(np.uint8), cv2.MORPH_OPEN, disk) > 0


def _in_one_piece(draft: Draft, frames: Sequence[int], found: np.ndarray) -> np.ndarray:
    """Those of the Gaussians `found` (N,) that are seen as one object of some size; errors of depth are specks."""
    chosen = [frames[int(k)] for k in np.unique(np.linspace(0, len(frames) - 1, _LOOKED_AT).round())]
    maps, largest = [], 0.0
    for frame in chosen:
        share = blob(draft.share_of(found, frame))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(share.astype(np.uint8))
        large = stats[:, cv2.CC_STAT_AREA] > _SMALLEST * labels.size
        large[0] = False
        inside = large[np.asarray(labels, np.int64)]
        largest = max(largest, float(inside.mean()))
        maps.append(np.dstack([inside, np.ones_like(inside), np.zeros_like(inside)]).astype(np.float32))
    if largest == 0.0:
        return np.zeros_like(found)
    inside, total, _ = np.moveaxis(draft.sums(chosen, maps).sum(axis=1), 1, 0)
    return found & (inside > 0.5 * total)


def one_change(through: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """Bool (N,): what is there in all frames up to a time and in none after it, or the other way round. `through`,
    `equal` (N, F): the pixels of each of the frames, in the order of time, that see through it, and that show it. What
    passes in front of something static is seen between frames that show the static thing."""
    total = np.maximum(through.sum(axis=1) + equal.sum(axis=1), 1e-9)
    wrong = np.full(len(through), np.inf)
    for before, after in ((equal, through), (through, equal)):
        early = np.cumsum(after, axis=1)
        late = before.sum(axis=1, keepdims=True) - np.cumsum(before, axis=1)
        wrong = np.minimum(wrong, (early + late).min(axis=1))
    return (wrong <= _OUT_OF_ORDER * total) & (through.sum(axis=1) > _LEFT * total)


def spread_of_colors(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,): how much the colors behind differ from frame to frame, in [0, 1]. `sums` (N, F, 3): sums of the colors;
    `weights` (N, F): the pixels that they are sums of. The background stays the same; things that pass do not."""
    colors = sums / np.maximum(weights, 1e-6)[..., None]
    share = (weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9))[..., None]
    mean = (share * colors).sum(axis=1, keepdims=True)
    return np.sqrt((share * np.square(colors - mean)).sum(axis=1)).max(axis=1)

"""Where a clip comes back to a place it has seen: loop candidates from image descriptors, and the frames to look at.

A frame's descriptor is one unit vector; frames of one place have a large inner product. Candidates are far apart in
time, and of candidates close together only the best stays. The numbers are those of Depth Anything 3's streaming.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dynamic_predictor.driver.chunks import chunk_of_frame, frames_around

#: descriptors compared at a time, so that the table of similarities stays small however long the clip is
_BLOCK = 1024


class ImageDescriptor(Protocol):
    """Turns images into vectors that are alike for one place. `threshold`: the inner product above which two frames
    may show one place; `name` goes into reports."""

    name: str
    threshold: float

    @property
    def size(self) -> int:
        """Length of a descriptor."""
        ...

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors float32 (N, size) of uint8 RGB images (H, W, 3)."""
        ...


@dataclass(frozen=True)
class LoopCandidate:
    """Two frames that may show one place; `later` comes after `earlier` in the clip."""

    later: int
    earlier: int
    similarity: float


@dataclass(frozen=True)
class LoopWindow:
    """Frames around a loop candidate: a range (first, past the last) in each of two different chunks."""

    later_chunk: int
    later_frames: tuple[int, int]
    earlier_chunk: int
    earlier_frames: tuple[int, int]


def find_loops(
    descriptors: np.ndarray,
    *,
    threshold: float = 0.85,
    neighbours: int = 5,
    min_gap: int = 10,
    suppression: int = 25,
) -> list[LoopCandidate]:
    """Loop candidates among unit descriptors (N, D), best first; `descriptors` may be mapped from the disk.

    Of each frame's `neighbours` most similar others those count that are more than `min_gap` frames away and more
    similar than `threshold`. A candidate is dropped when one of its frames is within `suppression` frames of a frame
    of a better one (0 keeps all).
    """
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(descriptors), _BLOCK):
        values, indices = _most_similar(descriptors, start, neighbours + 1)
        for row in range(len(values)):
            frame = start + row
            # the frame itself is the first of its neighbours, or stands among equals of it
            others = [(int(j), float(v)) for j, v in zip(indices[row], values[row], strict=True) if j != frame]
            for other, similarity in others[:neighbours]:
                if similarity > threshold and abs(frame - other) > min_gap:
                    pairs[max(frame, other), min(frame, other)] = similarity
    ordered = sorted(
        (LoopCandidate(later, earlier, similarity) for (later, earlier), similarity in pairs.items()),
        key=lambda loop: (-loop.similarity, loop.earlier, loop.later),
    )
    return ordered if suppression <= 0 else _suppressed(ordered, suppression, len(descriptors))


def _most_similar(descriptors: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest inner products of one block of rows with all rows, with their indices, largest first."""
    block = np.asarray(descriptors[start : start + _BLOCK], np.float32)
    values = np.zeros((len(block), 0), np.float32)
    indices = np.zeros((len(block), 0), np.int64)
    for other in range(0, len(descriptors), _BLOCK):
        products = block @ np.asarray(descriptors[other : other + _BLOCK], np.float32).T
        values = np.concatenate([values, products], axis=1)
        columns = np.arange(other, other + products.shape[1])
        indices = np.concatenate([indices, np.broadcast_to(columns, products.shape)], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        values, indices = np.take_along_axis(values, order, 1), np.take_along_axis(indices, order, 1)
    return values, indices


def _suppressed(ordered: Sequence[LoopCandidate], radius: int, count: int) -> list[LoopCandidate]:
    taken = np.zeros(count, bool)
    kept = []
    for loop in ordered:
        if taken[loop.later] or taken[loop.earlier]:
            continue
        kept.append(loop)
        for frame in (loop.later, loop.earlier):
            taken[max(0, frame - radius) : frame + radius + 1] = True
    return kept


def loop_windows(
    windows: Sequence[tuple[int, int]], loops: Sequence[LoopCandidate], *, half: int = 10
) -> list[LoopWindow]:
    """What to predict together for each candidate: `2 * half` frames of either side. One window for each pair of
    chunks, the best; candidates inside one chunk need none."""
    found: dict[tuple[int, int], LoopWindow] = {}
    for loop in loops:
        later, earlier = chunk_of_frame(windows, loop.later), chunk_of_frame(windows, loop.earlier)
        if later == earlier or (later, earlier) in found:
            continue
        found[later, earlier] = LoopWindow(
            later,
            frames_around(windows[later], loop.later, half),
            earlier,
            frames_around(windows[earlier], loop.earlier, half),
        )
    return list(found.values())


class GradientDescriptor:
    """A descriptor without weights: how strong edges of each direction are in each cell of a grid, and a small blurred
    image, both free of the mean and the contrast of the whole.

    In the manner of GIST (Oliva and Torralba, IJCV 2001) and HOG (Dalal and Triggs, CVPR 2005). It knows a place again
    from much the same view, not from another side; loops that it finds have to be checked against the geometry.
    """

    name = "gradient grid (no weights)"
    threshold = 0.75
    _SIDE, _CELLS, _DIRECTIONS, _IMAGE = 128, 8, 8, 16

    @property
    def size(self) -> int:
        return self._CELLS**2 * self._DIRECTIONS + self._IMAGE**2

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._describe(image) for image in images]).astype(np.float32)

    def _describe(self, image: np.ndarray) -> np.ndarray:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (self._SIDE, self._SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        dx = cv2.Sobel(small, cv2.CV_32F, 1, 0)
        dy = cv2.Sobel(small, cv2.CV_32F, 0, 1)
        strength = np.hypot(dx, dy)
        direction = (np.arctan2(dy, dx) % np.pi) / np.pi * self._DIRECTIONS
        lower = np.floor(direction).astype(np.int64)
        part = direction - lower
        layers = np.zeros((self._DIRECTIONS, self._SIDE, self._SIDE), np.float32)
        rows, columns = np.indices(small.shape)
        layers[lower % self._DIRECTIONS, rows, columns] = strength * (1 - part)
        layers[(lower + 1) % self._DIRECTIONS, rows, columns] += strength * part
        cells = np.stack(
            [cv2.resize(layer, (self._CELLS, self._CELLS), interpolation=cv2.INTER_AREA) for layer in layers]
        )
        blurred = cv2.resize(small, (self._IMAGE, self._IMAGE), interpolation=cv2.INTER_AREA)
        parts = [np.sqrt(cells).ravel(), blurred.ravel()]
        return _unit(np.concatenate([_unit(part - part.mean()) for part in parts]))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)

"""Loop candidates: pairs of frames far apart in time that may show the same place, and the frames to predict for each.

A frame is described by a unit vector, and frames of the same place have a large inner product. Of candidates that are
close together only the best is kept. The default thresholds are those of Depth Anything 3's streaming.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamic_predictor.stitching.chunk_windows import chunk_of_frame, frames_around

#: number of descriptors compared at a time; it bounds the memory for their inner products
_BLOCK = 1024
_NEIGHBORS, _MIN_GAP = 5, 10


@dataclass(frozen=True)
class LoopCandidate:
    """Two frames that may show the same place; `similarity` is the inner product of their descriptors."""

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


def find_loops(descriptors: np.ndarray, *, threshold: float = 0.85, suppression: int = 25) -> list[LoopCandidate]:
    """Loop candidates among unit descriptors (N, D), most similar first; `descriptors` may be a memory map.

    A candidate is a frame and one of its 5 most similar frames, more than 10 frames away, with an inner product above
    `threshold`. Candidates with a frame within `suppression` frames of a better one's are dropped (0 keeps all).
    """
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(descriptors), _BLOCK):
        values, indices = _most_similar(descriptors, start, _NEIGHBORS + 1)
        for row in range(len(values)):
            frame = start + row
            # a frame is its own best neighbor, but identical frames may come before it
            others = [(int(j), float(v)) for j, v in zip(indices[row], values[row], strict=True) if j != frame]
            for other, similarity in others[:_NEIGHBORS]:
                if similarity > threshold and abs(frame - other) > _MIN_GAP:
                    pairs[max(frame, other), min(frame, other)] = similarity
    ordered = sorted(
        (LoopCandidate(later, earlier, similarity) for (later, earlier), similarity in pairs.items()),
        key=lambda loop: (-loop.similarity, loop.earlier, loop.later),
    )
    return ordered if suppression <= 0 else _suppressed(ordered, suppression, len(descriptors))


def _most_similar(descriptors: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For a block of rows from `start`, the `count` largest inner products with all rows, and their indices."""
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
    """The candidates without those that have a frame within `radius` frames of a better candidate's."""
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
    """The frames to predict together for each candidate: `2 * half` around each of its two frames. Each pair of chunks
    gets one window, that of its best candidate; candidates within one chunk get none."""
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

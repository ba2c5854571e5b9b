"""Which frames of a clip belong to which of its overlapping chunks."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from scene.errors import InputError

#: what may differ between the worlds of two chunks: a similarity, a rigid motion, or a scale found first and then a
#: rigid motion
ChunkAlignmentMethod = Literal["sim3", "se3", "scale+se3"]


def chunk_windows(count: int, chunk_size: int, overlap: int) -> list[tuple[int, int]]:
    """Windows (first frame, last frame + 1) of `chunk_size` frames that cover `count` frames, each sharing `overlap`
    frames with the next; the last one may be shorter. Raises `InputError` unless 0 < overlap < chunk_size."""
    check_chunks(chunk_size, overlap)
    if count <= chunk_size:
        return [(0, count)] if count > 0 else []
    step = chunk_size - overlap
    return [(start, min(start + chunk_size, count)) for start in range(0, count - overlap, step)]


def check_chunks(chunk_size: int, overlap: int) -> None:
    """Raises `InputError` unless 0 < overlap < chunk_size and chunk_size >= 2."""
    if chunk_size < 2:
        raise InputError(f"A chunk needs at least 2 frames, not {chunk_size}; give a larger --chunk-size.")
    if not 0 < overlap < chunk_size:
        raise InputError(
            f"An overlap of {overlap} frames does not fit chunks of {chunk_size}; give at least 1 and less than the "
            "chunk size."
        )


def chunk_of_frame(windows: Sequence[tuple[int, int]], frame: int) -> int:
    """The chunk that contains `frame`, in an overlap the later one. Raises `IndexError` if there is none."""
    position = bisect_right([start for start, _ in windows], frame) - 1
    if position < 0 or frame >= windows[position][1]:
        raise IndexError(f"frame {frame} is in no chunk")
    return position


def frames_around(window: tuple[int, int], frame: int, half: int) -> tuple[int, int]:
    """The range of `2 * half` frames around `frame`, shifted into `window`, or shortened if it is too short."""
    start, stop = window
    first = min(max(frame - half, start), max(stop - 2 * half, start))
    return first, min(first + 2 * half, stop)

"""Motion masks at the size of the frames from motion maps at the size of a network's tokens."""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from dynamic_predictor.attention_motion.threshold import motion_threshold, value_histogram
from scene.maps import FrameMaps, StoredMaps


def masks_of_clip(
    maps: Sequence[np.ndarray],
    network_size: tuple[int, int],
    to_frame: Callable[[np.ndarray], np.ndarray],
    refined: Callable[[Callable[[int], np.ndarray]], Iterable[np.ndarray]] | None = None,
) -> FrameMaps:
    """Masks of 0 and 1, at the size of the frames, of the motion maps (rows, columns) in [0, 1] of a clip.

    Each map is enlarged bilinearly to the network's input, `network_size` (width, height). One threshold is found for
    the whole clip (`threshold.motion_threshold`); what lies above it moves. `refined` is given a function from the
    number of a frame to its mask (H, W) bool, and gives the masks of all frames in order. `to_frame` brings float32
    values to the size of the frames. Memory is that of the masks, one byte per pixel, which `StoredMaps` puts on the
    disk when they are large.
    """

    def enlarged(index: int) -> np.ndarray:
        return cv2.resize(np.asarray(maps[index], np.float32), network_size, interpolation=cv2.INTER_LINEAR)

    limit = motion_threshold(value_histogram(enlarged(index) for index in range(len(maps))))

    def mask(index: int) -> np.ndarray:
        return enlarged(index) > limit

    found = refined(mask) if refined is not None else map(mask, range(len(maps)))
    masks: StoredMaps | None = None
    for index, moves in enumerate(found):
        values = to_frame(moves.astype(np.float32)) > 0.5
        if masks is None:
            masks = StoredMaps(len(maps), *values.shape, dtype=np.uint8)
        masks[index] = values
    assert masks is not None
    return masks


def maps_of_windows(
    windows: Sequence[tuple[int, int]], window_maps: Callable[[int, int], np.ndarray]
) -> list[np.ndarray]:
    """The motion map (rows, columns) of every frame of the overlapping `windows` (first, stop) of a clip, of which
    `window_maps(first, stop)` gives those of one (stop - first, rows, columns)."""
    maps: list[np.ndarray] = []
    for number, (first, stop) in enumerate(windows):
        begin, end = core_of_window(windows, number)
        maps.extend(np.array(values) for values in window_maps(first, stop)[begin - first : end - first])
    return maps


def core_of_window(windows: Sequence[tuple[int, int]], number: int) -> tuple[int, int]:
    """The frames (first, stop) whose maps are those of one of the overlapping `windows`. Overlaps are cut in their
    middle, where both windows see as many neighbors as possible."""
    cuts = [(later[0] + earlier[1]) // 2 for earlier, later in zip(windows, windows[1:], strict=False)]
    borders = [windows[0][0], *cuts, windows[-1][1]]
    return borders[number], borders[number + 1]

"""Motion masks at the size of the frames from motion maps at the size of a network's tokens."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from dynamic_predictor.attention_motion.threshold import motion_threshold, value_histogram
from scene.maps import FrameMaps, StoredMaps


def masks_of_clip(
    maps: Sequence[np.ndarray], network_size: tuple[int, int], to_frame: Callable[[np.ndarray], np.ndarray]
) -> FrameMaps:
    """Masks of 0 and 1, at the size of the frames, of the motion maps (rows, columns) in [0, 1] of a clip.

    Each map is enlarged bilinearly to the network's input, `network_size` (width, height), and by `to_frame` to its
    frame. One threshold is found for the whole clip (`threshold.motion_threshold`); what lies above it moves. Memory is
    that of the masks, one byte per pixel, which `StoredMaps` puts on the disk when they are large.
    """

    def enlarged(index: int) -> np.ndarray:
        return to_frame(cv2.resize(np.asarray(maps[index], np.float32), network_size, interpolation=cv2.INTER_LINEAR))

    limit = motion_threshold(value_histogram(enlarged(index) for index in range(len(maps))))
    masks = StoredMaps(len(maps), *enlarged(0).shape, dtype=np.uint8)
    for index in range(len(maps)):
        masks[index] = enlarged(index) > limit
    return masks


def maps_of_windows(
    windows: Sequence[tuple[int, int]], window_maps: Callable[[int, int], np.ndarray]
) -> list[np.ndarray]:
    """The motion map (rows, columns) of every frame of the overlapping `windows` (first, stop) of a clip, of which
    `window_maps(first, stop)` gives those of one (stop - first, rows, columns). Overlaps are cut in their middle, where
    both windows see as many neighbors as possible."""
    maps: list[np.ndarray] = []
    for number, (first, stop) in enumerate(windows):
        end = stop if number == len(windows) - 1 else (windows[number + 1][0] + stop) // 2
        maps.extend(np.array(values) for values in window_maps(first, stop)[len(maps) - first : end - first])
    return maps

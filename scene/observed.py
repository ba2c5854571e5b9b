"""What a frame observed of the scene: maps in [0, 1] per frame, 1 = observed, 0 = not shown by the frame.

Transparent pixels, black borders, captions and frames without a picture are not observed. There, a frame is no evidence
of anything: no loss, no Gaussians, no flow, no motion, no score. Values between weigh the loss, and are observed from
one half on. A scene in which all is observed has no maps.
"""

import numpy as np

from scene.maps import FrameMaps, LoadedMaps
from scene.push_pull import push_pull

_HALF = 0.5


def is_observed(observed: FrameMaps, index: int) -> np.ndarray:
    """Bool (H, W): whether the pixels of a frame were observed."""
    return observed[index] >= _HALF


def unobserved_frames(observed: FrameMaps | None) -> list[int]:
    """The frames of which nothing was observed."""
    return [] if observed is None else [i for i in range(len(observed)) if not is_observed(observed, i).any()]


def where_observed(maps: FrameMaps, observed: FrameMaps | None) -> FrameMaps:
    """`maps` (motion masks, confidences), 0 where nothing was observed; read when used."""
    if observed is None:
        return maps
    return LoadedMaps(len(maps), lambda index: maps[index] * is_observed(observed, index))


def joined(one: FrameMaps | None, other: FrameMaps | None) -> FrameMaps | None:
    """What both maps call observed: their product."""
    if one is None or other is None:
        return one if other is None else other
    return LoadedMaps(len(one), lambda index: one[index] * other[index])


def filled(image: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3) with its surroundings continued smoothly where `observed` (H, W) is below one half, so
    that the border of what was observed is no edge."""
    known = observed >= _HALF
    if known.all() or not known.any():
        return image
    smooth = push_pull(image.astype(np.float32), known.astype(np.float32))
    return np.where(known[..., None], image, np.rint(smooth)).astype(np.uint8)

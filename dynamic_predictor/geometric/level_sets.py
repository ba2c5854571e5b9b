"""Paths over a map from its pixels to the border of the image, from the connected components of level sets."""

import cv2
import numpy as np


def highest_way_out(values: np.ndarray, levels: np.ndarray, usable: np.ndarray | None = None) -> np.ndarray:
    """(H, W): the highest of the `levels` (L,), in ascending order, from which on `values` (H, W) stay on some path
    from the pixel to the border of the image; the first level where there is none. Paths lead over `usable` (H, W)
    pixels only."""
    reached = np.full_like(values, levels[0])
    for level in levels:
        above = values >= level if usable is None else (values >= level) & usable
        count, labels = cv2.connectedComponents(above.astype(np.uint8), connectivity=4)
        touches = np.zeros(count, bool)
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            touches[side] = True
        touches[0] = False
        reached[touches[labels]] = level
    return reached

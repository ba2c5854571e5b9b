"""Makes motion masks larger or smaller."""

import cv2
import numpy as np

from scene.maps import FrameMaps, LoadedMaps


def grown(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask (H, W) larger by `pixels` on every side, or smaller where they are below 0; soft ones stay soft."""
    radius = round(abs(pixels))
    if radius == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return (cv2.dilate if pixels > 0 else cv2.erode)(mask.astype(np.float32), kernel)


def grown_maps(masks: FrameMaps, pixels: float | None) -> FrameMaps:
    """`grown` of each mask, when it is read; None changes nothing."""
    if not pixels:
        return masks
    return LoadedMaps(len(masks), lambda index: grown(masks[index], pixels))

"""How much grain a clip has."""

import cv2
import numpy as np

#: edge of the blocks of which the flattest tell the noise, in pixels
_BLOCK = 16
_FLATTEST = 0.1
#: a standard deviation in [0, 1] above this is texture, not grain
_MOST = 0.05
#: twice differencing mask and its norm for white noise (Immerkaer, "Fast noise variance estimation", CVIU 1996)
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NORM = 6.0


def grain(values: np.ndarray) -> np.ndarray:
    """The standard deviation (3,) of the noise of an image (H, W, 3) in [0, 1], by its flattest blocks; exactly black
    or white ones do not count."""
    height, width = (side // _BLOCK * _BLOCK for side in values.shape[:2])
    if min(height, width) < 2 * _BLOCK:
        return np.zeros(3, np.float32)
    found = []
    for channel in range(3):
        plane = np.ascontiguousarray(values[:height, :width, channel], np.float32)
        second = np.square(cv2.filter2D(plane, cv2.CV_32F, _MASK, borderType=cv2.BORDER_REFLECT))
        blocks = _means(second)
        level = _means(plane)
        use = (level > 0.02) & (level < 0.98) & (blocks > 0)
        if not use.any():
            found.append(0.0)
            continue
        found.append(float(np.sqrt(np.quantile(blocks[use], _FLATTEST))) / _NORM)
    return np.minimum(np.array(found, np.float32), _MOST)


def _means(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    return plane.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(1, 3))

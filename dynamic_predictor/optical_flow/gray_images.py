"""Gray versions of the images of a clip, converted once and cached."""

from collections import OrderedDict
from collections.abc import Callable

import cv2
import numpy as np

from scene.errors import InputError


class GrayImages:
    """Images that `load` returns for their index, and gray versions of them. The most recently used gray images are
    kept: as many as fit into `cache_bytes`, but at least 16."""

    def __init__(self, load: Callable[[int], np.ndarray], cache_bytes: int = 128 << 20) -> None:
        self._load = load
        self._cache_bytes = cache_bytes
        self._grays: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._load(index)

    def gray(self, index: int) -> np.ndarray:
        """Image `index` as uint8 gray (H, W)."""
        if index in self._grays:
            self._grays.move_to_end(index)
            return self._grays[index]
        image = self._load(index)
        require_rgb(image)
        if image.dtype != np.uint8:
            image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        gray = self._grays[index] = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        if len(self._grays) > max(16, self._cache_bytes // gray.size):
            self._grays.popitem(last=False)
        return gray


def require_rgb(image: np.ndarray) -> None:
    """Raises `InputError` unless `image` is (H, W, 3)."""
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"Optical flow needs RGB images (H, W, 3), not an array of shape {image.shape}.")

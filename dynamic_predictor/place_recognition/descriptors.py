"""The interface of image descriptors, and a descriptor that needs no network."""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np


class ImageDescriptor(Protocol):
    """Maps images to unit vectors whose inner product is large for images of the same place."""

    name: str  #: for reports
    threshold: float  #: inner product above which two images may show the same place

    @property
    def size(self) -> int:
        """The length of a descriptor."""
        ...

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors float32 (N, size) of uint8 RGB images (H, W, 3)."""
        ...


class GradientDescriptor:
    """An `ImageDescriptor` without weights: the strength of edges by direction in each cell of a grid, and a small
    blurred image, both normalized for brightness and contrast.

    It follows GIST (Oliva and Torralba, IJCV 2001) and HOG (Dalal and Triggs, CVPR 2005). It recognizes a place from a
    similar viewpoint only, so its loops have to be verified by geometry.
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
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, (self._SIDE, self._SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
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

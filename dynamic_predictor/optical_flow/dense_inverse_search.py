"""OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016): flow without weights."""

import cv2
import numpy as np

_SMALLEST_SIDE = 64


class DenseInverseSearch:
    """Flow between two grey images of any size."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(H, W, 2) float32, pixels (x, y), from two uint8 images (H, W)."""
        height, width = first.shape
        # below this size the coarsest level of the pyramid is smaller than a patch
        rows, columns = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
        if rows or columns:
            first = cv2.copyMakeBorder(first, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
            second = cv2.copyMakeBorder(second, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
        flow = self._search.calc(first, second, None)[:height, :width]  # pyright: ignore[reportArgumentType, reportCallIssue]
        return np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0)

"""OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016): flow without weights."""

from collections.abc import Callable

import cv2
import numpy as np

from dynamic_predictor.optical_flow.contract import FlowEstimate, Images
from dynamic_predictor.optical_flow.gray_images import GrayImages
from scene.errors import InputError

_SMALLEST_SIDE = 64


class DISFlow:
    """`OpticalFlow` by OpenCV's DIS: no weights, no uncertainty."""

    name = "dis"

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """As `OpticalFlow.estimate`."""
        return self.between([first, second])(0, 1)

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """As `OpticalFlow.between`. Gray images are cached, in `images` itself if it is a `GrayImages`."""
        grays = images if isinstance(images, GrayImages) else GrayImages(images.__getitem__)
        return lambda first, second: FlowEstimate(self._displacement(grays.gray(first), grays.gray(second)))

    def _displacement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(H, W, 2) float32, pixels (x, y), from two uint8 gray images (H, W)."""
        if first.shape != second.shape:
            raise InputError(f"Optical flow needs images of one size: {first.shape}, {second.shape}.")
        height, width = first.shape
        # in smaller images the coarsest level of the pyramid is smaller than a patch
        rows, columns = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
        if rows or columns:
            first = cv2.copyMakeBorder(first, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
            second = cv2.copyMakeBorder(second, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
        flow = self._search.calc(first, second, None)[:height, :width]  # pyright: ignore[reportArgumentType, reportCallIssue]
        return np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0)

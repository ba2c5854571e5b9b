"""The contract of optical flow: two images in, the displacement of every pixel out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class FlowEstimate:
    """Flow from a first to a second image.

    `displacement` (H, W, 2) float32, pixels (x, y): the point at pixel p of the first image is at p + displacement in
    the second. `uncertainty` (H, W) float32, pixels: the expected absolute error of one component; None from methods
    that do not estimate it.
    """

    displacement: np.ndarray
    uncertainty: np.ndarray | None = None


class Images(Protocol):
    """Images by index: a list, or an object that loads them on access."""

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class OpticalFlow(Protocol):
    """A method of optical flow. Images are (H, W, 3) RGB, uint8 or float in [0, 1], all of one size; `InputError` is
    raised for others."""

    name: str

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """The flow from `first` to `second`."""
        ...

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """A function that returns the flow between two of `images`, given their indices. It caches the features of the
        images that it used last."""
        ...

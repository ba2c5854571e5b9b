"""A flow in one class, as docs/architecture.md describes it."""

from collections.abc import Callable

import numpy as np

from dynamic_predictor.optical_flow.contract import FlowEstimate, Images


class ToyFlow:
    """The same displacement for all pixels, times the step from the first to the second image."""

    name = "toy"

    def __init__(self, displacement: np.ndarray) -> None:
        self.displacement = displacement
        #: the pairs of images that were compared
        self.asked: list[tuple[int, int]] = []

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        return self.between([first, second])(0, 1)

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        def flow(first: int, second: int) -> FlowEstimate:
            self.asked.append((first, second))
            height, width = images[first].shape[:2]
            return FlowEstimate(np.full((height, width, 2), self.displacement * (second - first), np.float32))

        return flow

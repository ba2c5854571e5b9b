"""What a camera may have beyond one focal length: one radial term of its lens, and a focal length of every frame."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scene.lens import Lens, LensFamily

#: a change of slope of the logarithm of the focal length from frame to frame by this much costs as much as a focal
#: length one standard deviation off its prior (`bundle_adjustment.FOCAL_PRIOR_COST`)
ZOOM_BEND = 0.01


@dataclass(frozen=True)
class RadialTerm:
    """A lens with one coefficient: the families of `scene.lens` with k1 alone, centered in the image. Points are
    (x, y) / z in the pinhole camera of the same focal length, distances in focal lengths."""

    family: LensFamily
    coefficient: float

    def factor(self, square: np.ndarray) -> np.ndarray:
        """Distance from the center in the image of the lens over that in the pinhole image, for squared pinhole
        distances `square`."""
        return self.expansion(square)[0]

    def expansion(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`factor` g, and its derivatives by `square` and by the coefficient."""
        k = self.coefficient
        square = np.minimum(square, self.largest_square)
        if self.family == "perspective":
            return 1 + k * square, np.full_like(square, k), square
        small = square < 1e-6
        safe = np.where(small, 1.0, square)
        distance = np.sqrt(safe)
        angle = np.arctan(distance)
        # near the center t / r is 1 - s / 3
        ratio = np.where(small, 1 - square / 3, angle / distance)
        angle_square = np.where(small, square, angle**2)
        by_square_ratio = np.where(small, -1 / 3, (1 / (1 + safe) - ratio) / (2 * safe))
        by_square_angle = np.where(small, 1.0, ratio / (1 + safe))
        value = ratio * (1 + k * angle_square)
        slope = by_square_ratio * (1 + k * angle_square) + ratio * k * by_square_angle
        return value, slope, ratio * angle_square

    @cached_property
    def largest_square(self) -> float:
        """Beyond this squared distance the lens has no image; the factor is kept there."""
        return min(self.limit**2 if self.family == "perspective" else np.tan(min(self.limit, 1.55)) ** 2, 1e4)

    @property
    def limit(self) -> float:
        """Where the radial function ends (`Lens.limit`)."""
        return self._lens.limit

    @cached_property
    def _lens(self) -> Lens:
        return self.lens(2, 2, 1.0)

    def ideal(self, distorted: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the pinhole camera of points (..., 2) of the lens, both relative to the center."""
        distance = np.hypot(distorted[..., 0], distorted[..., 1])
        value = self._lens.inverse_radial_function(distance)
        # a point that the lens does not see is put at its limit
        widest = np.sqrt(self.largest_square)
        tangent = value if self.family == "perspective" else np.tan(np.minimum(value, 1.55))
        tangent = np.where(np.isfinite(tangent), tangent, widest)
        return distorted * np.where(distance > 1e-9, tangent / np.maximum(distance, 1e-9), 1.0)[..., None]

    def lens(self, width: int, height: int, focal: float) -> Lens:
        """The lens of an image of `width` x `height` pixels."""
        coefficients = (self.coefficient,) if self.coefficient else ()
        return Lens(self.family, width, height, focal, focal, width / 2, height / 2, coefficients)


def bends(frames: np.ndarray) -> np.ndarray:
    """The matrix (K - 2, K) that gives, for values at the ascending numbers `frames` (K,), how far each inner one is
    off the straight line between its neighbors."""
    count = len(frames)
    matrix = np.zeros((max(count - 2, 0), count))
    for row in range(len(matrix)):
        before, here, after = frames[row : row + 3]
        share = (here - before) / (after - before)
        matrix[row, row : row + 3] = [-(1 - share), 1.0, -share]
    return matrix

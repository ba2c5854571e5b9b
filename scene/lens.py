"""Lenses that distort: from rays to pixels and back.

Two families cover the camera models of COLMAP, OpenCV and nerfstudio (`scene.formats.lens_models` has their names):

- perspective (Brown, 1966; OpenCV's rational model): with x, y = X / Z, Y / Z and s = x^2 + y^2, the distorted point is
  (x, y) (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3), plus the tangential part
  (2 p1 x y + p2 (s + 2 x^2), p1 (s + 2 y^2) + 2 p2 x y);
- equidistant (Kannala and Brandt, PAMI 2006; OpenCV's fisheye): with the angle t between ray and view axis, the
  distance from the center is t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8).

Distances are in focal lengths. Pixel centers are at +0.5 and axes are OpenCV's, as in `scene.camera`.
`scene.undistortion` brings images to a pinhole camera.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scene.errors import InputError

LensFamily = Literal["perspective", "equidistant"]
#: largest number of radial coefficients of each family
RADIAL_COUNTS: dict[str, int] = {"perspective": 6, "equidistant": 4}
#: largest angle to the view axis at which a perspective lens is evaluated, in degrees
_WIDEST_PERSPECTIVE = 85.0
#: entries of the table from which the inverse of the radial function starts
_TABLE = 2048


@dataclass(frozen=True)
class Lens:
    """Intrinsics in pixels of a `width` x `height` image, and the distortion. `radial` is k1, k2, ... (missing ones are
    0), `tangential` is (p1, p2) of the perspective family. Raises `ValueError` for values that are no lens."""

    family: LensFamily
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        numbers = [self.fx, self.fy, self.cx, self.cy, *self.radial, *self.tangential]
        if self.family not in RADIAL_COUNTS or len(self.radial) > RADIAL_COUNTS[self.family]:
            raise ValueError(f"a lens of the family {self.family} with {len(self.radial)} radial coefficients")
        if not np.isfinite(numbers).all() or self.fx <= 0 or self.fy <= 0:
            raise ValueError("the intrinsics of a lens are finite, and its focal lengths positive")
        if self.family == "equidistant" and any(self.tangential):
            raise ValueError("an equidistant lens has no tangential distortion")

    @property
    def is_pinhole(self) -> bool:
        """Whether nothing is distorted."""
        return self.family == "perspective" and not any(self.radial) and not any(self.tangential)

    @cached_property
    def limit(self) -> float:
        """Where the radial function stops to increase or is not evaluated: tangent of the angle to the view axis for
        the perspective family, the angle in radians for the equidistant one. Rays beyond it are in no image."""
        if self.family == "equidistant":
            # of t (1 + k1 t^2 + ...): the derivative in s = t^2 is 1 + 3 k1 s + 5 k2 s^2 + ...
            slope = [1.0] + [(2 * power + 1) * k for power, k in enumerate(self.radial, start=1)]
            return min(math.sqrt(_first_root(np.array(slope))), math.pi)
        numerator, denominator = self._rational()
        # of r N(s) / D(s) with s = r^2: the sign of the derivative is that of (N + 2 s N') D - 2 s N D'
        polynomial = np.polynomial.polynomial
        double = np.array([0.0, 2.0])
        rising = polynomial.polyadd(numerator, polynomial.polymul(double, polynomial.polyder(numerator)))
        falling = polynomial.polymul(polynomial.polymul(double, numerator), polynomial.polyder(denominator))
        slope = polynomial.polysub(polynomial.polymul(rising, denominator), falling)
        widest = math.tan(math.radians(_WIDEST_PERSPECTIVE))
        return min(math.sqrt(_first_root(slope)), math.sqrt(_first_root(denominator)), widest)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in camera coordinates; NaN for points that no pixel sees."""
        points = np.asarray(points, np.float64)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        if self.family == "equidistant":
            distance = np.hypot(x, y)
            angle = np.arctan2(distance, z)
            scale = np.where(distance > 1e-12, self.radial_function(angle) / np.maximum(distance, 1e-12), 1.0)
            # at the view axis angle / distance is 1 / z
            scale = np.where(distance > 1e-12, scale, 1.0 / np.where(np.abs(z) > 1e-12, z, 1.0))
            distorted = np.stack([x * scale, y * scale], axis=-1)
            visible = (angle < self.limit) & (distance + np.abs(z) > 0)
        else:
            safe = np.where(z > 1e-12, z, 1.0)
            ideal = np.stack([x / safe, y / safe], axis=-1)
            distorted = self._distorted(ideal)
            visible = (z > 1e-12) & (np.hypot(ideal[..., 0], ideal[..., 1]) < self.limit)
        pixels = distorted * [self.fx, self.fy] + [self.cx, self.cy]
        return np.where(visible[..., None], pixels, np.nan)

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Unit rays (..., 3) in camera coordinates of pixels (..., 2); NaN for pixels that see nothing."""
        distorted = (np.asarray(pixels, np.float64) - [self.cx, self.cy]) / [self.fx, self.fy]
        if self.family == "equidistant":
            distance = np.hypot(distorted[..., 0], distorted[..., 1])
            angle = self.inverse_radial_function(distance)
            factor = np.where(distance > 1e-12, np.sin(angle) / np.maximum(distance, 1e-12), 1.0)
            return np.concatenate([distorted * factor[..., None], np.cos(angle)[..., None]], axis=-1)
        ideal = self._undistorted(distorted)
        rays = np.concatenate([ideal, np.ones_like(ideal[..., :1])], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def radial_function(self, value: np.ndarray) -> np.ndarray:
        """Distance from the center, in focal lengths, at a tangent (perspective) or angle (equidistant)."""
        if self.family == "equidistant":
            return value * np.polynomial.polynomial.polyval(value**2, [1.0, *self.radial])
        numerator, denominator = self._rational()
        square = value**2
        evaluate = np.polynomial.polynomial.polyval
        return value * evaluate(square, numerator) / evaluate(square, denominator)

    def inverse_radial_function(self, distance: np.ndarray) -> np.ndarray:
        """The inverse of `radial_function`; NaN for distances that it does not reach."""
        table, values = self._table
        inverse = np.interp(distance, values, table)
        step = 1e-6
        for _ in range(4):
            slope = (self.radial_function(inverse + step) - self.radial_function(inverse - step)) / (2 * step)
            change = (self.radial_function(inverse) - distance) / np.where(np.abs(slope) > 1e-9, slope, 1e-9)
            inverse = np.clip(inverse - np.clip(change, -0.05, 0.05), 0.0, self.limit)
        return np.where(distance <= values[-1], inverse, np.nan)

    def resized(self, width: int, height: int) -> "Lens":
        """The same lens for its image resized to `width` x `height`."""
        x_scale, y_scale = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * x_scale,
            fy=self.fy * y_scale,
            cx=self.cx * x_scale,
            cy=self.cy * y_scale,
        )

    def as_json(self) -> dict[str, Any]:
        """The description that `lens_of_json` reads."""
        numbers = {name: float(getattr(self, name)) for name in ("fx", "fy", "cx", "cy")}
        coefficients = {"radial": list(map(float, self.radial)), "tangential": list(map(float, self.tangential))}
        return {"family": self.family, "width": self.width, "height": self.height, **numbers, **coefficients}

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        table = np.linspace(0.0, self.limit, _TABLE)
        return table, np.maximum.accumulate(self.radial_function(table))

    def _rational(self) -> tuple[np.ndarray, np.ndarray]:
        """The coefficients of numerator and denominator of the radial factor, in powers of s."""
        k = np.zeros(6)
        k[: len(self.radial)] = self.radial
        return np.array([1.0, *k[:3]]), np.array([1.0, *k[3:]])

    def _distorted(self, ideal: np.ndarray) -> np.ndarray:
        numerator, denominator = self._rational()
        square = (ideal**2).sum(-1)
        evaluate = np.polynomial.polynomial.polyval
        factor = evaluate(square, numerator) / evaluate(square, denominator)
        return ideal * factor[..., None] + self._tangential_part(ideal)

    def _tangential_part(self, ideal: np.ndarray) -> np.ndarray:
        p1, p2 = self.tangential
        x, y = ideal[..., 0], ideal[..., 1]
        square = x * x + y * y
        return np.stack([2 * p1 * x * y + p2 * (square + 2 * x * x), p1 * (square + 2 * y * y) + 2 * p2 * x * y], -1)

    def _undistorted(self, distorted: np.ndarray) -> np.ndarray:
        """The inverse of `_distorted`: the radial part exactly, the tangential part by fixed-point iteration."""
        ideal = distorted
        for _ in range(20 if any(self.tangential) else 1):
            radial = distorted - self._tangential_part(ideal) if any(self.tangential) else distorted
            distance = np.hypot(radial[..., 0], radial[..., 1])
            tangent = self.inverse_radial_function(distance)
            ideal = radial * np.where(distance > 1e-12, tangent / np.maximum(distance, 1e-12), 1.0)[..., None]
        return ideal


def lens_of_json(values: Any, path: Path) -> Lens:
    """The lens of a description in the file `path`. Raises `InputError` for one that is damaged."""
    try:
        width, height = (int(values[name]) for name in ("width", "height"))
        if not (0 < width < 1 << 20 and 0 < height < 1 << 20):
            raise ValueError("an impossible size")
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        radial, (p1, p2) = tuple(float(k) for k in values["radial"]), (float(p) for p in values["tangential"])
        return Lens(values["family"], width, height, fx, fy, cx, cy, radial, (p1, p2))
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{path} has a description of a lens that is damaged; make the scene again.") from error


def _first_root(coefficients: np.ndarray) -> float:
    """The smallest positive real root of a polynomial, given from the constant term upward; infinity if it has none."""
    coefficients = np.trim_zeros(np.asarray(coefficients, np.float64), "b")
    if len(coefficients) < 2:
        return math.inf
    roots = np.polynomial.polynomial.polyroots(coefficients)
    real = roots[(np.abs(roots.imag) < 1e-9 * np.maximum(1.0, np.abs(roots))) & (roots.real > 1e-12)].real
    return float(real.min()) if len(real) else math.inf

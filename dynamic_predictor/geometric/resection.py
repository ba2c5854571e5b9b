"""The pose of a camera from points that are known."""

from typing import Protocol

import numpy as np

from dynamic_predictor.geometric.compiled import kernels
from dynamic_predictor.geometric.reprojection import NEAREST, rotation_from_vector

#: widths of the loss, in units of the noise, and iterations with each of them
_WIDTHS, _ITERATIONS = (8.0, 3.0, 1.0, 1.0), 4


class Resection(Protocol):
    """See `NumpyResection`."""

    def cost(self, rotation: np.ndarray, translation: np.ndarray, square: float) -> float: ...

    def equations(
        self, rotation: np.ndarray, translation: np.ndarray, square: float
    ) -> tuple[np.ndarray, np.ndarray]: ...


class NumpyResection:
    """Cost and normal equations of one camera that sees known points, for machines without the compiled kernels."""

    def __init__(
        self,
        points: np.ndarray,
        scales: np.ndarray,
        pixels: np.ndarray,
        weights: np.ndarray,
        focal: float,
        center: tuple[float, float],
    ) -> None:
        """Homogeneous world points, `points` (N, 3) over `scales` (N,), seen at `pixels` (N, 2), and their `weights`
        (N,)."""
        self._points, self._scales, self._pixels, self._weights = points, scales, pixels, weights
        self._focal, self._center = focal, center

    def cost(self, rotation: np.ndarray, translation: np.ndarray, square: float) -> float:
        """The weighted mean of log(1 + r^2 / square) over the reprojection errors r in pixels, for the pose
        camera from world `rotation` (3, 3) and `translation` (3,)."""
        _, _, _, u, v, _ = self._seen(rotation, translation)
        return float((self._weights * np.log1p((u * u + v * v) / square)).sum() / self._weights.sum())

    def equations(self, rotation: np.ndarray, translation: np.ndarray, square: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (6, 6) and gradient (6,) of its normal equations, times `square` and the sum of the weights, for a
        motion that is applied from the left: translation and rotation vector. Points behind the camera do not count."""
        a, b, inverse_z, u, v, in_front = self._seen(rotation, translation)
        weight = np.where(in_front, self._weights / (1 + (u * u + v * v) / square), 0.0)
        s, zero = inverse_z * self._scales, np.zeros(len(a))
        rows_u = self._focal * np.stack([s, zero, -s * a, -a * b, 1 + a * a, -b])
        rows_v = self._focal * np.stack([zero, s, -s * b, -(1 + b * b), a * b, a])
        matrix = (rows_u * weight) @ rows_u.T + (rows_v * weight) @ rows_v.T
        return matrix, rows_u @ (weight * u) + rows_v @ (weight * v)

    def _seen(self, rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, ...]:
        moved = self._points @ rotation.T + self._scales[:, None] * translation
        in_front = moved[:, 2] > NEAREST
        inverse_z = 1 / np.where(in_front, moved[:, 2], NEAREST)
        a, b = moved[:, 0] * inverse_z, moved[:, 1] * inverse_z
        u = self._focal * a + self._center[0] - self._pixels[:, 0]
        v = self._focal * b + self._center[1] - self._pixels[:, 1]
        return a, b, inverse_z, u, v, in_front


def resection_of(
    points: np.ndarray,
    scales: np.ndarray,
    pixels: np.ndarray,
    weights: np.ndarray,
    focal: float,
    center: tuple[float, float],
) -> Resection:
    """The compiled equations, or those of NumPy where there are none; arguments as those of `NumpyResection`."""
    module = kernels()
    kind = NumpyResection if module is None else module.Resection
    return kind(points, scales, pixels, weights, focal, center)


def resected(
    resection: Resection, rotation: np.ndarray, translation: np.ndarray, noise: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """(cost, rotation, translation) after Gauss-Newton from a first guess, with a Cauchy loss whose width shrinks to
    the `noise` in pixels."""
    square = np.inf
    for width in _WIDTHS:
        square = (2.0 * noise * width) ** 2
        for _ in range(_ITERATIONS):
            matrix, gradient = resection.equations(rotation, translation, square)
            diagonal = matrix.diagonal()
            matrix.flat[::7] += 1e-6 * diagonal + 1e-9 * max(float(diagonal.max()), 1e-9)
            step = -np.linalg.solve(matrix, gradient)
            turn = rotation_from_vector(np.clip(step[3:], -0.3, 0.3))
            rotation, translation = turn @ rotation, turn @ translation + step[:3]
            if np.abs(step).max() < 1e-6:
                break
    return resection.cost(rotation, translation, square), rotation, translation

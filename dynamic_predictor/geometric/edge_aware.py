"""Edge-aware smoothing of maps, guided by the image.

The fast global smoother (Min et al., "Fast global image smoothing based on weighted least squares", TIP 2014):
alternating one-dimensional weighted-least-squares systems along rows and columns. All rows (all columns) are chained
into one tridiagonal system whose links across line ends are cut, which LAPACK solves in linear time. OpenCV has this
filter too, but only in the contrib modules (`cv2.ximgproc`), which opencv-python-headless does not contain.
"""

import numpy as np
from scipy.linalg import solveh_banded


class EdgeAwareSmoother:
    """Smooths any number of maps with one guide image.

    `guide` (H, W, C) float32: the link of two neighboring pixels is exp(-d / `contrast`), where d is the Euclidean
    distance of their guide values. `strength` is the weight of smoothness against the data: in flat areas values are
    averaged over about sqrt(strength) pixels.
    """

    def __init__(self, guide: np.ndarray, strength: float, contrast: float, iterations: int = 3) -> None:
        guide = guide if guide.ndim == 3 else guide[..., None]
        self._shape = guide.shape[:2]
        self._strengths = [
            1.5 * strength * 4.0 ** (iterations - 1 - k) / (4.0**iterations - 1.0) for k in range(iterations)
        ]
        across = np.linalg.norm(np.diff(guide, axis=1), axis=-1)
        down = np.linalg.norm(np.diff(guide, axis=0), axis=-1)
        self._row_links = self._chain(np.exp(-across / contrast), axis=1)
        self._column_links = self._chain(np.exp(-down / contrast), axis=0)

    @staticmethod
    def _chain(links: np.ndarray, axis: int) -> np.ndarray:
        """The link from each pixel to the next one along its line (0 at the end of a line), line after line."""
        lines = links if axis == 1 else links.T
        return np.pad(lines, ((0, 0), (0, 1))).astype(np.float64).ravel()

    def __call__(self, *maps: np.ndarray) -> list[np.ndarray]:
        """The smoothed maps, each (H, W) float32."""
        values = np.stack([np.asarray(m, dtype=np.float64) for m in maps], axis=-1)
        height, width = self._shape
        count = values.shape[-1]
        for strength in self._strengths:
            values = self._solve(values.reshape(-1, count), self._row_links * strength).reshape(height, width, count)
            columns = np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(-1, count)
            solved = self._solve(columns, self._column_links * strength).reshape(width, height, count)
            values = np.ascontiguousarray(solved.transpose(1, 0, 2))
        return [values[..., k].astype(np.float32) for k in range(count)]

    def weighted(self, value: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalized smoothing: the edge-aware local mean of `value` (H, W) with weights `weight` (H, W), and the
        smoothed weight. Pixels without any weight around them get the overall mean."""
        total = float(weight.sum(dtype=np.float64))
        mean = float((value * weight).sum(dtype=np.float64)) / total if total > 0 else float(np.mean(value))
        numerator, denominator = self((value - mean) * weight, weight)
        floor = 1e-9 * max(total / weight.size, 1e-30)
        return mean + numerator / np.maximum(denominator, floor), denominator

    @staticmethod
    def _solve(values: np.ndarray, links: np.ndarray) -> np.ndarray:
        banded = np.empty((2, len(links)))
        banded[0, 0] = 0.0
        banded[0, 1:] = -links[:-1]
        banded[1] = 1.0 + links
        banded[1, 1:] += links[:-1]
        return solveh_banded(banded, values, overwrite_ab=True, overwrite_b=True, check_finite=False)

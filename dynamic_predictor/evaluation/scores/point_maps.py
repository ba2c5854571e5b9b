"""Point maps of several views brought to the scale and depth of true ones, as CUT3R's reconstruction scores do (Wang et
al., CVPR 2025; the protocol is that of Spann3R, Wang and Agapito, 3DV 2025).

Both sets of points are in the frame of the first camera. The median z of each is subtracted, the predicted points are
scaled to the same median distance from the median point, and both get the true median z back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamic_predictor.evaluation.scores.depth import lower_median

#: limits of the predicted scale, against predictions that collapse or explode
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-3, 1e3


@dataclass(frozen=True)
class PointMapAlignment:
    """predicted -> (predicted - (0, 0, predicted_shift)) * true_scale / predicted_scale + (0, 0, true_shift)."""

    true_shift: float
    predicted_shift: float
    true_scale: float
    predicted_scale: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Predicted points (..., 3) in the unit of the true ones, in the frame of the first camera."""
        centered = points - np.array([0.0, 0.0, self.predicted_shift])
        return centered * (self.true_scale / self.predicted_scale) + np.array([0.0, 0.0, self.true_shift])


def align_point_maps(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> PointMapAlignment:
    """The alignment of predicted points with true ones, given as arrays (K, 3) per view of the pixels that are valid.

    Medians are those of all views together; of an even number of values, the lower one in the middle. Raises
    `ValueError` without any point.
    """
    ours, theirs = (np.concatenate([np.asarray(points, np.float64) for points in maps]) for maps in (predicted, true))
    if not len(ours) or not len(theirs):
        raise ValueError("point maps without any valid point cannot be aligned")
    predicted_shift, true_shift = lower_median(ours[:, 2]), lower_median(theirs[:, 2])
    predicted_scale = _scale(ours - np.array([0.0, 0.0, predicted_shift]))
    true_scale = _scale(theirs - np.array([0.0, 0.0, true_shift]))
    predicted_scale = min(max(predicted_scale, _SMALLEST_SCALE), _LARGEST_SCALE)
    return PointMapAlignment(true_shift, predicted_shift, true_scale, predicted_scale)


def central_window(height: int, width: int, size: int = 224) -> tuple[slice, slice]:
    """The rows and columns of the `size` x `size` pixels in the middle, or of as many as there are."""
    top, left = max(height // 2 - size // 2, 0), max(width // 2 - size // 2, 0)
    return slice(top, min(top + size, height)), slice(left, min(left + size, width))


def _scale(points: np.ndarray) -> float:
    """The median distance from the point of the medians of x, y and z."""
    center = np.array([lower_median(points[:, axis]) for axis in range(3)])
    return lower_median(np.linalg.norm(points - center, axis=1))

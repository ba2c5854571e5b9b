"""One background out of several fetched ones: a robust vote per pixel."""

from dataclasses import dataclass

import numpy as np

#: difference in [0, 1] between candidates that agree
_AGREE = 0.05


@dataclass(frozen=True)
class Vote:
    """The outcome for every pixel."""

    #: (H, W, 3) float32
    color: np.ndarray
    #: (H, W) float32, sum of the weights of the candidates that agree
    support: np.ndarray
    #: (H, W) float32, mean absolute deviation of those that agree
    spread: np.ndarray


def vote(candidates: np.ndarray, weights: np.ndarray) -> Vote:
    """The mean of the `candidates` (K, H, W, 3) that are near the one whose brightness is their weighted median;
    `weights` (K, H, W), 0 = none. Where all weights are 0, support and color are 0."""
    total = weights.sum(axis=0)
    center = np.take_along_axis(candidates, median_index(candidates.sum(axis=-1), weights)[None, ..., None], axis=0)[0]
    distance = np.abs(candidates - center).max(axis=-1)
    near = weights / np.square(1.0 + np.square(distance / _AGREE))
    agreeing = near.sum(axis=0)
    safe = np.maximum(agreeing, 1e-9)
    color = (near[..., None] * candidates).sum(axis=0) / safe[..., None]
    spread = (near * np.abs(candidates - color).mean(axis=-1)).sum(axis=0) / safe
    color[total <= 0] = 0.0
    return Vote(color.astype(np.float32), agreeing.astype(np.float32), spread.astype(np.float32))


def median_index(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(H, W): which of the `values` (K, H, W) is the weighted median."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    at = (cumulative >= 0.5 * cumulative[-1:]).argmax(axis=0)
    return np.take_along_axis(order, at[None], axis=0)[0]

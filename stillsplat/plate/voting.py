"""One background out of several fetched ones: a robust vote per pixel."""

from dataclasses import dataclass

import numpy as np

#: difference in [0, 1] between candidates that agree
_AGREE = 0.05
#: rows that are worked on at a time
_BAND = 16


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
    shape = weights.shape[1:]
    color = np.empty((*shape, 3), np.float32)
    support, spread = np.empty(shape, np.float32), np.empty(shape, np.float32)
    # in bands, so that what is made on the way stays in the caches of the processor
    for top in range(0, shape[0], _BAND):
        rows = np.s_[top : top + _BAND]
        _vote_band(candidates[:, rows], weights[:, rows], color[rows], support[rows], spread[rows])
    return Vote(color, support, spread)


def _vote_band(
    candidates: np.ndarray, weights: np.ndarray, color: np.ndarray, support: np.ndarray, spread: np.ndarray
) -> None:
    """Writes the outcome for some rows."""
    center = np.take_along_axis(candidates, median_index(candidates.sum(axis=-1), weights)[None, ..., None], axis=0)[0]
    distance = np.abs(candidates - center).max(axis=-1)
    near = weights / np.square(1.0 + np.square(distance / _AGREE))
    agreeing = near.sum(axis=0)
    safe = np.maximum(agreeing, 1e-9)
    color[:] = np.einsum("kij,kijc->ijc", near, candidates) / safe[..., None]
    spread[:] = (near * np.abs(candidates - color).mean(axis=-1)).sum(axis=0) / safe
    support[:] = agreeing
    color[weights.sum(axis=0) <= 0] = 0.0


def median_index(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(H, W): which of the `values` (K, H, W) is the weighted median."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    at = (cumulative >= 0.5 * cumulative[-1:]).argmax(axis=0)
    return np.take_along_axis(order, at[None], axis=0)[0]

"""Motion masks of all frames from the outputs of a network's mask heads for many pairs.

`benchmarks/motion_aggregation.py` measures the choices made here.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.official import OURS, Conventions
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother

#: strength (its square root is about the reach in pixels) and contrast of the smoothing that stops at image edges
_EDGE_STRENGTH, _EDGE_CONTRAST = 16.0, 0.06


def motion_probability(predictions: PairPredictions, conventions: Conventions = OURS) -> Tensor:
    """Motion probability (N, H, W) float32 of every frame: the mean over the views of its pairs that vote."""
    return torch.stack([views.mean(dim=0) for views in motion_views(predictions, conventions)])


def fit_to_edges(probability: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (N, H, W) float32, smoothed up to the edges of their `images`, uint8 RGB (H, W, 3)."""
    fitted = np.empty(probability.shape, np.float32)
    for frame, values in enumerate(probability):
        guide = np.asarray(images[frame], np.float32) / 255.0
        (smooth,) = EdgeAwareSmoother(guide, _EDGE_STRENGTH, _EDGE_CONTRAST)(values)
        fitted[frame] = np.clip(smooth, 0.0, 1.0)
    return fitted


def motion_views(predictions: PairPredictions, conventions: Conventions = OURS) -> Iterator[Tensor]:
    """Frame by frame, the motion (V, H, W) of the views that vote. Raises `ValueError` without mask heads."""
    if predictions.motion is None:
        raise ValueError("these predictions have no motion probabilities")
    shape = predictions.height, predictions.width
    for frame in range(predictions.frame_count):
        begin, end = int(predictions.frame_start[frame]), int(predictions.frame_start[frame + 1])
        slots = conventions.motion_slots(np.arange(begin, end), predictions.side_of_slot[begin:end])
        yield predictions.motion[torch.from_numpy(slots)].float().reshape(len(slots), *shape)

"""What moves in each frame, from what a network's mask heads say about many pairs.

`benchmarks/motion_aggregation.py` measures the choices.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother

#: reach (about its square root in pixels) and contrast of the fit to the edges of a image
_EDGE_STRENGTH, _EDGE_CONTRAST = 16.0, 0.06


def motion_probability(predictions: PairPredictions, *, strict_official: bool = False) -> Tensor:
    """Mean motion probability (N, H, W) float32 of every frame over the pairs that show it.

    Both views of a pair count. With `strict_official` only those do where the frame is the first of its pair, as in
    DAS3R's code; its second mask head is then not used at all."""
    return torch.stack([views.mean(dim=0) for views in _views(predictions, strict_official)])


def largest_motion_probability(predictions: PairPredictions, *, strict_official: bool = False) -> Tensor:
    """The same with the largest probability instead of the mean."""
    return torch.stack([views.amax(dim=0) for views in _views(predictions, strict_official)])


def fitted_to_edges(probability: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (N, H, W) spread to the edges of their images, uint8 RGB (H, W, 3), float32."""
    fitted = np.empty(probability.shape, np.float32)
    for frame, values in enumerate(probability):
        guide = np.asarray(images[frame], np.float32) / 255.0
        (smooth,) = EdgeAwareSmoother(guide, _EDGE_STRENGTH, _EDGE_CONTRAST)(values)
        fitted[frame] = np.clip(smooth, 0.0, 1.0)
    return fitted


def _views(predictions: PairPredictions, first_only: bool):
    if predictions.motion is None:
        raise ValueError("these predictions have no motion probabilities")
    shape = predictions.height, predictions.width
    for frame in range(predictions.frame_count):
        begin, end = int(predictions.frame_start[frame]), int(predictions.frame_start[frame + 1])
        slots = np.arange(begin, end)
        firsts = slots[predictions.side_of_slot[slots] == 0]
        if first_only and len(firsts):
            slots = firsts
        yield predictions.motion[torch.from_numpy(slots)].float().reshape(len(slots), *shape)

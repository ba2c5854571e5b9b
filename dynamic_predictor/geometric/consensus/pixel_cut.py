"""Masks whose borders follow edges: colors, the rough mask and the smoothness along edges, brought together.

The energy is that of interactive segmentation (Boykov and Jolly, ICCV 2001): a unary term per pixel and a smoothness
term that is small across edges. It is minimized approximately by mean field inference, in which the messages between
pixels are an edge-aware smoothing of the whole map (after Krahenbuhl and Koltun, NIPS 2011).
"""

import numpy as np

from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother


def mean_field(unary: np.ndarray, smoother: EdgeAwareSmoother, strength: float, steps: int) -> np.ndarray:
    """The probability (H, W), in [0, 1], that a pixel moves.

    `unary` (H, W) are log odds; `strength` is the weight of the smoothed opinion of the surroundings, in the same unit.
    """
    odds = unary
    for _ in range(steps):
        opinion = np.tanh(0.5 * odds)
        odds = unary + strength * smoother(opinion)[0]
    return (1.0 / (1.0 + np.exp(-odds))).astype(np.float32)

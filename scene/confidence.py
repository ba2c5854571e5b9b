"""The one convention of confidence: p in [0, 1], 0 = unknown, 1 = certain.

Networks of the DUSt3R family give c >= 1 without bound, the inverse of an expected error up to an offset. Here it is
p = 1 - 1 / c: 0 at the lowest confidence, c = 1; one half at c = 2.
"""

import numpy as np

#: bound of c, above which 1 - 1 / c is nearly 1 in float32
_LARGEST_ODDS = 1e6


def from_network(network_confidence: np.ndarray) -> np.ndarray:
    """p = 1 - 1 / c float32 of a network's confidence c, which is at least 1."""
    return (1.0 - 1.0 / np.maximum(network_confidence, 1.0)).astype(np.float32)


def odds(confidence: np.ndarray) -> np.ndarray:
    """p / (1 - p) = c - 1 float32: weights by which the confidences of networks enter the alignment of chunks."""
    known = np.clip(confidence, 0.0, None).astype(np.float32)
    return (known / np.maximum(1.0 - known, 1.0 / _LARGEST_ODDS)).astype(np.float32)

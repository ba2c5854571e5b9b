"""The edge-aware smoother."""

import numpy as np

from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother


def test_edge_aware_smoothing_stops_at_edges_and_solves_its_equations():
    guide = np.zeros((20, 30, 3), np.float32)
    guide[:, 15:] = 1.0
    value = np.where(np.arange(30)[None, :] < 15, 1.0, 3.0) + np.zeros((20, 1))
    noisy = value + np.random.default_rng(0).normal(0, 0.2, value.shape)
    (smooth,) = EdgeAwareSmoother(guide, 100.0, 0.05)(noisy)
    assert np.abs(smooth - value).max() < 0.15
    np.testing.assert_allclose(smooth.mean(), noisy.mean(), atol=1e-5)

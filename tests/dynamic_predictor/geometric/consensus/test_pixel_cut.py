"""Mean field inference on a picture of two halves."""

import numpy as np

from dynamic_predictor.geometric.consensus.pixel_cut import mean_field
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother


def test_noise_is_removed_and_the_edge_is_kept():
    rng = np.random.default_rng(0)
    guide = np.zeros((48, 64), np.float32)
    guide[:, 30:] = 1.0
    truth = guide > 0.5
    unary = np.where(truth, 0.7, -0.7) + rng.normal(0, 1.5, guide.shape)
    assert (unary > 0).mean(where=truth) < 0.75
    found = mean_field(unary.astype(np.float32), EdgeAwareSmoother(guide, 30.0, 0.05), strength=3.0, steps=4)
    assert found.dtype == np.float32 and found.min() >= 0.0 and found.max() <= 1.0
    assert ((found > 0.5) == truth).mean() > 0.95


def test_without_smoothness_the_probability_is_that_of_the_unary_term():
    unary = np.linspace(-3, 3, 63, dtype=np.float32).reshape(7, 9)
    found = mean_field(unary, EdgeAwareSmoother(np.zeros((7, 9), np.float32), 1.0, 1.0), strength=0.0, steps=2)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-unary)), rtol=1e-5)

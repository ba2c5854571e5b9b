"""The learning rate against the official one, and which parameters decay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.training.optimization import learning_rate_at, make_optimizer
from dynamic_predictor.training.settings import RunSettings

SETTINGS = RunSettings(epochs=2, warmup_epochs=0.5, learning_rate=2e-3, least_learning_rate=1e-5)


def test_biases_and_norms_do_not_decay():
    optimizer = make_optimizer(list(torch.nn.Linear(2, 3).parameters()), SETTINGS)
    assert [(group["weight_decay"], group["params"][0].ndim) for group in optimizer.param_groups] == [(0.05, 2), (0, 1)]


def test_learning_rate_against_the_official_one(shared):
    assert learning_rate_at(0, SETTINGS) == 0
    assert learning_rate_at(SETTINGS.warmup_epochs, SETTINGS) == pytest.approx(SETTINGS.learning_rate)
    assert learning_rate_at(SETTINGS.epochs, SETTINGS) == pytest.approx(SETTINGS.least_learning_rate)
    with np.load(shared / "parity" / "das3r" / "transforms.npz") as golden:
        times, cosine = golden["t"], golden["cosine"]
    start, end = cosine[0], cosine[-1]
    flat = replace(SETTINGS, warmup_epochs=0, epochs=1, learning_rate=float(start), least_learning_rate=float(end))
    np.testing.assert_allclose([learning_rate_at(float(t), flat) for t in times], cosine, rtol=1e-6, atol=1e-12)

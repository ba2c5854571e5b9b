"""Trainable parameters and the learning rate of a step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.training.settings import SMALL
from dynamic_predictor.training.step import learning_rate_at, select_trainable

SETTINGS = replace(
    SMALL,
    resolutions=((64, 48),),
    test_resolution=(64, 48),
    batch_size=4,
    pairs_per_epoch=16,
    test_pairs=4,
    epochs=2,
    learning_rate=2e-3,
)


def test_trainable_parameters_at_the_published_size():
    with torch.device("meta"):
        network = TwoViewNetwork()
    learning = select_trainable(network, replace(SMALL, freeze="encoder_and_3d_predictor"))
    unused = sum(
        p.numel() for n, p in network.named_parameters() if "dynamic_mask" in n and "refinenet4.resConfUnit1" in n
    )
    # the number in the paper, which includes the unit that never runs
    assert sum(parameter.numel() for parameter in learning) + unused == 40_697_218


def test_learning_rate_against_the_official_one(shared):
    assert learning_rate_at(0, SETTINGS) == 0
    assert learning_rate_at(SETTINGS.warmup_epochs, SETTINGS) == pytest.approx(SETTINGS.learning_rate)
    assert learning_rate_at(SETTINGS.epochs, SETTINGS) == pytest.approx(SETTINGS.least_learning_rate)
    with np.load(shared / "parity" / "das3r" / "transforms.npz") as golden:
        times, cosine = golden["t"], golden["cosine"]
    start, end = cosine[0], cosine[-1]
    flat = replace(SETTINGS, warmup_epochs=0, epochs=1, learning_rate=float(start), least_learning_rate=float(end))
    np.testing.assert_allclose([learning_rate_at(float(t), flat) for t in times], cosine, rtol=1e-6, atol=1e-12)

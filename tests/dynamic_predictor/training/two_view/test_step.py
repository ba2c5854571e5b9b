"""Trainable parameters."""

from dataclasses import replace

import torch

from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.training.two_view.settings import SMALL
from dynamic_predictor.training.two_view.step import select_trainable


def test_trainable_parameters_at_the_published_size():
    with torch.device("meta"):
        network = TwoViewNetwork()
    learning = select_trainable(network, replace(SMALL, freeze="encoder_and_3d_predictor"))
    unused = sum(
        p.numel() for n, p in network.named_parameters() if "dynamic_mask" in n and "refinenet4.resConfUnit1" in n
    )
    # the number in the paper, which includes the unit that never runs
    assert sum(parameter.numel() for parameter in learning) + unused == 40_697_218

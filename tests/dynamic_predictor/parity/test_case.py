"""Networks without parameter values."""

import pytest
import torch

from dynamic_predictor.parity.case import network_without_values


def test_buffers_without_a_place_in_checkpoints_are_refused():
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.zeros(3), persistent=False)

    with pytest.raises(ValueError, match="table"):
        network_without_values(Network)

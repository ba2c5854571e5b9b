"""RAFT and SEA-RAFT with the weights of the goldens."""

import pytest

from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.parity.case import network_without_values
from tests.dynamic_predictor.optical_flow.made_up_flow import filled


@pytest.fixture(scope="session")
def raft() -> RAFT:
    return filled(network_without_values(RAFT))  # type: ignore[return-value]


@pytest.fixture(scope="session")
def sea_raft() -> SeaRAFT:
    return filled(network_without_values(SeaRAFT))  # type: ignore[return-value]

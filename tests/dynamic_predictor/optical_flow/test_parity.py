"""The networks as `dynamic_predictor.parity` fills them."""

import pytest

from dynamic_predictor.optical_flow.parity import parity_case
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT


@pytest.mark.parametrize("network_class", [RAFT, SeaRAFT])
def test_a_norm_with_two_names_is_filled_once(network_class: type[RAFT] | type[SeaRAFT]) -> None:
    case = parity_case(network_class)
    assert case.aliases and all(alias not in case.parameters for alias in case.aliases)
    assert set(case.aliases.values()) <= set(case.parameters)

"""The networks as `dynamic_predictor.parity` fills them."""

import pytest

from dynamic_predictor.optical_flow.parity import parity_case
from dynamic_predictor.parity.case import ParityCase


@pytest.mark.parametrize("name", ["raft", "sea-raft"])
def test_parity_case_fills_both_names_of_a_norm_once(name: str) -> None:
    case: ParityCase = parity_case(name)
    assert case.aliases and all(alias not in case.parameters for alias in case.aliases)
    assert set(case.aliases.values()) <= set(case.parameters)

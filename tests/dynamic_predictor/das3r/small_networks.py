"""Small two-view networks with made-up weights."""

import re

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights
from tests.paths import DATA, SHARED

COPIES = DATA / "das3r"
SHARED = SHARED / "parity" / "das3r"
#: of the goldens: widths and depths are small, the heads as published
TINY = TwoViewConfig(
    encoder_width=64, encoder_depth=4, encoder_heads=4, decoder_width=48, decoder_depth=12, decoder_heads=3
)
#: smaller still, for tests that only need something that runs
MINIMAL = TwoViewConfig(
    encoder_width=32,
    encoder_depth=1,
    encoder_heads=2,
    decoder_width=32,
    decoder_depth=4,
    decoder_heads=2,
    head_stage_widths=(8, 8, 16, 16),
    head_width=16,
)


def filled_network(config: TwoViewConfig) -> TwoViewNetwork:
    """Made-up weights, the last layer of the point heads tamed so that exp stays in range, as for the goldens."""
    network = network_without_values(lambda: TwoViewNetwork(config))
    parameters = network.state_dict()
    fill_with_made_up_weights(parameters)
    for key, tensor in parameters.items():
        if re.search(r"^downstream_head[12]\.dpt\.head\.4\.weight$", key):
            tensor.mul_(0.2)
    return network

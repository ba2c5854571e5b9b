"""Small two-view networks with made-up weights."""

import json
import re
from pathlib import Path

from safetensors.torch import save_file

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import official_arguments
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights
from tests.paths import DATA, SHARED

COPIES = DATA / "das3r"
SHARED = SHARED / "parity" / "das3r"
#: the network of the goldens: small widths and depths, published heads
TINY = TwoViewConfig(
    encoder_width=64, encoder_depth=4, encoder_heads=4, decoder_width=48, decoder_depth=12, decoder_heads=3
)
#: an even smaller network, for tests that only need one that runs
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
    """A network with made-up weights. As for the goldens, the last layer of the point heads is scaled down so that exp
    does not overflow."""
    network = network_without_values(lambda: TwoViewNetwork(config))
    parameters = network.state_dict()
    fill_with_made_up_weights(parameters)
    for key, tensor in parameters.items():
        if re.search(r"^downstream_head[12]\.dpt\.head\.4\.weight$", key):
            tensor.mul_(0.2)
    return network


def save_hub_folder(network: TwoViewNetwork, folder: Path) -> None:
    """Writes model.safetensors and config.json into `folder`, as on the Hugging Face hub."""
    folder.mkdir(exist_ok=True)
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(official_arguments(network.config)))

"""Written checkpoints against the official list of keys."""

import argparse
import gzip
import json

import torch
from safetensors.torch import load_file

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from tests.dynamic_predictor.das3r.small_networks import COPIES, save_hub_folder


def test_written_keys_are_those_of_the_official_files(tmp_path):
    """The .pth has every key of the official list; .safetensors has one name of each parameter."""
    small = TwoViewConfig(
        encoder_width=16,
        encoder_heads=2,
        decoder_width=16,
        decoder_heads=2,
        head_stage_widths=(4, 4, 4, 4),
        head_width=4,
    )
    network = TwoViewNetwork(small)
    save_pth(network, tmp_path / "a.pth")
    save_hub_folder(network, tmp_path / "hub")
    with gzip.open(COPIES / "das3r.keys.json.gz") as file:
        official = set(json.load(file))
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert set(content["model"]) == official
    assert content["args"].model.startswith("AsymmetricCroCo3DStereo(pos_embed='RoPE100'")
    hub = set(load_file(tmp_path / "hub" / "model.safetensors"))
    assert hub == {key for key in official if ".layer_rn." not in key}

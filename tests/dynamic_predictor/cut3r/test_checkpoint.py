"""Reading checkpoints as the official training writes them."""

import argparse
import json
import sys
import types
from dataclasses import replace

import pytest
import torch

from dynamic_predictor.cut3r.checkpoint import load_network
from dynamic_predictor.cut3r.config import official_arguments
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network, model_string, save_pth


def _equal(network, other) -> bool:
    state = other.state_dict()
    return all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_a_training_checkpoint(tmp_path):
    network = filled_network(MINIMAL)
    loaded = load_network(save_pth(network, tmp_path / "cut3r.pth"), head_type="linear")
    assert loaded.config == MINIMAL and _equal(network, loaded) and not loaded.training


class DictConfig:
    """Stands for omegaconf's class of this name, whose code must not run."""

    def __setstate__(self, state: dict) -> None:
        raise AssertionError("the package's own code ran")

    def __getstate__(self) -> dict:
        return {"_content": {"model": model_string(MINIMAL)}}


DictConfig.__module__, DictConfig.__qualname__ = "omegaconf.dictconfig", "DictConfig"


def _save_with_configuration_object(network, path, monkeypatch) -> None:
    """As the published files: arguments are an object of omegaconf, and keys those of data-parallel training."""
    module = types.ModuleType("omegaconf.dictconfig")
    module.__dict__["DictConfig"] = DictConfig
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        patch.setitem(sys.modules, "omegaconf.dictconfig", module)
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"model": state, "args": DictConfig(), "epoch": 3}, path)


def test_sizes_of_published_files_follow_from_the_tensors(tmp_path, monkeypatch):
    config = replace(MINIMAL, encoder_heads=1, decoder_width=64, decoder_heads=1, state_decoder_heads=16)
    network = filled_network(config)
    _save_with_configuration_object(network, tmp_path / "cut3r.pth", monkeypatch)
    loaded = load_network(tmp_path / "cut3r.pth")
    assert loaded.config == config and _equal(network, loaded)


def test_other_sizes_come_from_config_json(tmp_path, monkeypatch):
    network = filled_network(MINIMAL)
    _save_with_configuration_object(network, tmp_path / "cut3r.pth", monkeypatch)
    with pytest.raises(InputError, match="attention heads"):  # 32 features are no head of 64
        load_network(tmp_path / "cut3r.pth")
    (tmp_path / "config.json").write_text(json.dumps(official_arguments(MINIMAL)))
    assert _equal(network, load_network(tmp_path / "cut3r.pth"))


def test_without_a_state_decoder_that_of_the_view_is_copied(tmp_path):
    network = filled_network(MINIMAL)
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("dec_blocks_state.")}
    torch.save({"model": state, "args": argparse.Namespace(model=model_string(MINIMAL))}, tmp_path / "dust3r.pth")
    loaded = load_network(tmp_path / "dust3r.pth")
    for one, two in zip(loaded.dec_blocks.parameters(), loaded.dec_blocks_state.parameters(), strict=True):
        assert torch.equal(one, two) and one.data_ptr() != two.data_ptr()


def test_wrong_files_are_named(tmp_path):
    network = filled_network(MINIMAL)
    path = save_pth(network, tmp_path / "cut3r.pth")
    with pytest.raises(InputError, match="checkpoint of cut3r-224"):
        load_network(path, head_type="dpt")
    torch.save({"patch_embed.proj.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not a checkpoint of CUT3R"):
        load_network(tmp_path / "other.pth")
    state = network.state_dict()
    del state["pose_token"]
    torch.save({"model": state, "args": argparse.Namespace(model=model_string(MINIMAL))}, tmp_path / "part.pth")
    with pytest.raises(InputError, match="lacks pose_token"):
        load_network(tmp_path / "part.pth")

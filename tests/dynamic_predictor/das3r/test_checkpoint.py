"""Checkpoints in the published layouts, and other files that are refused."""

import argparse
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.das3r.checkpoint import load_network
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import official_arguments, official_model_string, save_pth
from scene.errors import InputError
from tests.dynamic_predictor.das3r.small_networks import MINIMAL, filled_network, save_hub_folder


@pytest.fixture(scope="module")
def das3r():
    return filled_network(MINIMAL)


@pytest.fixture(scope="module")
def monst3r():
    return filled_network(replace(MINIMAL, has_mask_heads=False))


def _assert_equal(ours: TwoViewNetwork, original: TwoViewNetwork):
    assert ours.config == original.config
    for (name, value), (_, expected) in zip(ours.state_dict().items(), original.state_dict().items(), strict=True):
        assert torch.equal(value, expected), name
        assert value.dtype == torch.float32


@pytest.mark.parametrize("kind", ["das3r", "monst3r"])
def test_both_layouts_are_read_unchanged(kind, request, tmp_path):
    network = request.getfixturevalue(kind)
    save_pth(network, tmp_path / "checkpoint-last.pth", epoch=3)
    save_hub_folder(network, tmp_path / "hub")
    for path in (tmp_path / "checkpoint-last.pth", tmp_path / "hub", tmp_path / "hub" / "model.safetensors"):
        _assert_equal(load_network(path, mask_heads=kind == "das3r"), network)


@pytest.mark.parametrize("spelling", ["layer_rn", "both"])
def test_either_name_of_a_parameter(das3r, tmp_path, spelling):
    state = das3r.state_dict()
    renamed = {}
    for key, value in state.items():
        for number in range(4):
            key = key.replace(f"scratch.layer{number + 1}_rn", f"scratch.layer_rn.{number}")
        renamed[key] = value.contiguous()
    tensors = renamed if spelling == "layer_rn" else {**renamed, **{k: v.clone() for k, v in state.items()}}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(official_arguments(MINIMAL)))
    _assert_equal(load_network(tmp_path, mask_heads=True), das3r)


def test_contents_from_training_are_allowed(das3r, tmp_path):
    arguments = argparse.Namespace(model=official_model_string(MINIMAL), lr=1e-4, betas=(0.9, 0.95), output_dir=None)
    content = {
        "model": {f"module.{key}": value.half() for key, value in das3r.state_dict().items()},
        "args": arguments,
        "epoch": 7,
        "best_so_far": float("inf"),
        "best_pose_ate_sofar": np.float64(0.1),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": np.float32(0.1)}]},
        "scaler": {},
    }
    torch.save(content, tmp_path / "checkpoint-best.pth")
    network = load_network(tmp_path / "checkpoint-best.pth", mask_heads=True)
    torch.testing.assert_close(network.enc_norm.weight, das3r.enc_norm.weight.half().float())


def test_monst3r_becomes_das3r_for_training(monst3r, tmp_path):
    save_pth(monst3r, tmp_path / "monst3r.pth")
    network = load_network(tmp_path / "monst3r.pth", mask_heads=True, new_mask_heads=True)
    state = network.state_dict()
    for key, value in monst3r.state_dict().items():
        assert torch.equal(state[key], value), key
    assert state["downstream_head_dynamic_mask1.dpt.head.0.weight"].std() > 0


def test_checkpoints_of_the_other_network_are_refused(das3r, monst3r, tmp_path):
    save_pth(das3r, tmp_path / "das3r.pth")
    save_pth(monst3r, tmp_path / "monst3r.pth")
    with pytest.raises(InputError, match="no mask heads.*choose monst3r"):
        load_network(tmp_path / "monst3r.pth", mask_heads=True)
    with pytest.raises(InputError, match="has mask heads.*choose das3r"):
        load_network(tmp_path / "das3r.pth", mask_heads=False)


def test_wrong_keys_are_named(monst3r, tmp_path):
    state = monst3r.state_dict()
    arguments = argparse.Namespace(model=official_model_string(monst3r.config))

    def sentence(changed):
        torch.save({"model": changed, "args": arguments}, tmp_path / "a.pth")
        with pytest.raises(InputError) as caught:
            load_network(tmp_path / "a.pth", mask_heads=False)
        assert "a.pth" in str(caught.value)
        return str(caught.value)

    assert "lacks enc_norm.bias" in sentence({key: value for key, value in state.items() if key != "enc_norm.bias"})
    assert "unknown enc_norm.gain" in sentence({**state, "enc_norm.gain": torch.ones(3)})
    assert "enc_norm.bias (3 instead of 32)" in sentence({**state, "enc_norm.bias": torch.ones(3)})
    many = sentence({key: value for key, value in state.items() if not key.startswith("enc_blocks")})
    assert "and 9 more" in many


class _Command:
    def __reduce__(self):
        import os

        return os.system, ("echo should never run > /dev/null",)


def _other_files(folder):
    torch.save(_Command(), folder / "code.pth")
    (folder / "old_code.pth").write_bytes(pickle.dumps(_Command(), protocol=2))
    (folder / "new_code.pth").write_bytes(pickle.dumps(_Command(), protocol=4))
    torch.save({"model": {"fc.weight": torch.ones(3, 3)}}, folder / "other_network.pth")
    torch.save({"model": {}, "args": argparse.Namespace(model="ARCroco3DStereo(a=1)")}, folder / "empty_state.pth")
    state = {
        "model": {"fc.weight": torch.ones(3)},
        "args": argparse.Namespace(model="ARCroco3DStereo(ARCroco3DStereoConfig())"),
    }
    torch.save(state, folder / "cut3r.pth")
    torch.save([1, 2, 3], folder / "list.pth")
    torch.save({"a": torch.rand(1000)}, folder / "whole.pth")
    (folder / "truncated.pth").write_bytes((folder / "whole.pth").read_bytes()[:2500])
    (folder / "noise.pth").write_bytes(np.random.default_rng(0).bytes(1000))
    (folder / "text.pth").write_text("hello")
    (folder / "page.pth").write_text("<!DOCTYPE html><html></html>")
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (folder / "empty.pth").write_bytes(b"")
    save_file({"fc.weight": torch.ones(3)}, folder / "other.safetensors")
    (folder / "truncated.safetensors").write_bytes((folder / "other.safetensors").read_bytes()[:60])
    (folder / "huge_header.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    (folder / "folder.pth").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code.pth", r"would run (posix|os|nt)\.system"),
        ("old_code.pth", r"would run (posix|os|nt)\.system"),
        ("new_code.pth", "plain pickle that would run code"),
        ("other_network.pth", "not a checkpoint of DAS3R: it lacks.*fc.weight"),
        ("empty_state.pth", "no parameters"),
        ("cut3r.pth", "checkpoint of ARCroco3DStereo"),
        ("list.pth", "no parameters"),
        ("truncated.pth", "damaged or cut short"),
        ("noise.pth", "not a checkpoint of torch"),
        ("text.pth", "not a checkpoint of torch"),
        ("page.pth", "web page"),
        ("pointer.safetensors", "Git LFS"),
        ("empty.pth", "is empty"),
        ("other.safetensors", "not a checkpoint of DAS3R: it lacks.*fc.weight"),
        ("truncated.safetensors", "damaged"),
        ("huge_header.safetensors", "damaged"),
        ("folder.pth", "holds no model.safetensors"),
        ("missing.pth", "does not exist"),
    ],
)
def test_other_files_give_one_sentence(tmp_path, name, message):
    _other_files(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_network(tmp_path / name, mask_heads=True)
    assert "\n" not in str(caught.value) and name in str(caught.value)

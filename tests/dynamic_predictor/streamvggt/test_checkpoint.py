"""Files of weights as they are published and as the official training writes them."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.streamvggt.checkpoint import computing_type, load_network
from dynamic_predictor.weights.entry import local_names
from dynamic_predictor.weights.registry import weights_entry
from scene.errors import InputError
from tests.dynamic_predictor.streamvggt.tiny_networks import MINIMAL, golden_images


@pytest.mark.parametrize("kind", ["plain", "training", "data-parallel", "safetensors"])
def test_files_of_all_kinds_give_the_same_network(minimal, tmp_path, kind):
    state = {key: value.clone() for key, value in minimal.state_dict().items()}
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "checkpoints.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "training":
        arguments = argparse.Namespace(lr=1e-5)
        torch.save({"model": state, "optimizer": {"state": {}}, "scaler": {}, "args": arguments, "epoch": 3}, path)
    else:
        prefix = "module." if kind == "data-parallel" else ""
        torch.save({prefix + key: value for key, value in state.items()}, path)
    network = load_network(path, architecture=MINIMAL)
    images = golden_images(2, 28, 28)
    torch.testing.assert_close(network(images, causal=True).depth, minimal(images, causal=True).depth)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_file_of_another_network_is_refused(minimal, tmp_path):
    state = dict(minimal.state_dict())
    del state["camera_head.embed_pose.weight"]
    torch.save(state, tmp_path / "checkpoints.pth")
    with pytest.raises(
        InputError, match="not a checkpoint of VGGT or StreamVGGT: it lacks camera_head.embed_pose.weight"
    ):
        load_network(tmp_path / "checkpoints.pth", architecture=MINIMAL)


def test_precision():
    cpu = torch.device("cpu")
    assert computing_type("auto", cpu) == torch.float32 and computing_type("bfloat16", cpu) == torch.bfloat16


def test_half_precision_is_close(minimal, tmp_path):
    torch.save(minimal.state_dict(), tmp_path / "checkpoints.pth")
    network = load_network(tmp_path / "checkpoints.pth", architecture=MINIMAL, precision="bfloat16")
    images = golden_images(2, 28, 28)
    rough, exact = network(images, causal=True), minimal(images, causal=True)
    assert rough.depth.dtype == rough.camera.dtype == torch.float32
    torch.testing.assert_close(rough.depth, exact.depth, rtol=0.1, atol=0.05)


def test_entries_of_the_weights():
    assert "model.safetensors" not in local_names(weights_entry("vggt"))  # a name that other networks use too
    assert "vggt/model.safetensors" in local_names(weights_entry("vggt"))
    assert weights_entry("facebook/VGGT-1B").other_names == ("model.safetensors",)
    assert weights_entry("lch01/StreamVGGT").inventory == "vggt"

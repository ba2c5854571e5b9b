"""Names of models, and recognition and loading of their published files."""

import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.checkpoint import load_model, published_model, recognized_model
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.settings import (
    PUBLISHED_MODELS,
    SMALL,
)
from dynamic_predictor.weights.reading import Checkpoint
from scene.errors import InputError


def test_names_of_models():
    assert published_model("depth-anything-v3/small") is PUBLISHED_MODELS["da3-small"]
    assert published_model("depth-anything/DA3NESTED-GIANT-LARGE-1.1") is PUBLISHED_MODELS["da3-nested-1.1"]
    assert published_model("DA3METRIC-LARGE") is PUBLISHED_MODELS["da3-metric"]
    assert published_model("depth-anything-v2/small") is None


def test_every_model_has_an_entry_among_the_weights():
    from dynamic_predictor.weights.registry import weights_entry

    for model in PUBLISHED_MODELS.values():
        assert weights_entry(model.weights).name == model.weights


def test_metric_and_monocular_weights_are_distinguished_by_the_expected_name(tmp_path):
    """Their keys and shapes are the same."""
    with torch.device("meta"):
        values = build_network(PUBLISHED_MODELS["da3-mono"].settings).state_dict()
    checkpoint = Checkpoint(tmp_path / "model.safetensors", {f"model.{key}": value for key, value in values.items()})
    for name in ("da3-mono", "da3-metric"):
        assert recognized_model(checkpoint, name).name == name
    with pytest.raises(InputError, match="not of da3-small"):
        recognized_model(checkpoint, "da3-small")


def test_published_files_are_loaded_by_path_and_by_name(tmp_path, monkeypatch):
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build_network(SMALL).state_dict().items()}
    tensors = {f"model.{key}": torch.zeros(shape) for key, shape in shapes.items()}
    tensors["model.cam_dec.fc_fov.0.bias"] += 0.75
    folder = tmp_path / "da3-small"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path))
    for name in (folder, folder / "model.safetensors", "da3-small", "depth-anything-v3/small"):
        model, loaded = load_model(name)
        assert model.name == "da3-small"
        assert float(loaded.get_parameter("cam_dec.fc_fov.0.bias")[0]) == 0.75
    assert load_model(folder, expected="da3-small")[0].name == "da3-small"
    with pytest.raises(InputError, match="holds the weights of da3-small, not of da3-base"):
        load_model(folder, expected="da3-base")
    with pytest.raises(InputError, match="not of da3-large"):
        DepthAnything3.from_pretrained(folder, expected="da3-large")
    with pytest.raises(InputError, match="da3-base"):
        load_model("da3-base")
    with pytest.raises(InputError, match="choose one of"):
        load_model("da4-small")
    del tensors["model.cam_dec.fc_t.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match="fc_t"):
        load_model("da3-small")
    with pytest.raises(InputError, match="fit none"):
        load_model(folder)

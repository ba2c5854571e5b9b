"""Network sizes from model strings and from shapes, and arguments that are refused."""

import gzip
import json
from dataclasses import replace

import pytest
import torch

from dynamic_predictor.cut3r.config import (
    Cut3rConfig,
    arguments_from_model_string,
    config_from_arguments,
    config_from_shapes,
    official_arguments,
)
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.weights.keys import inventory
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import GOLDENS, MINIMAL, TINY, model_string

_PUBLISHED = (
    "ARCroco3DStereo(ARCroco3DStereoConfig(freeze='encoder', state_size=768, state_pe='2d', pos_embed='RoPE100', "
    "rgb_head=True, pose_head=True, patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), head_type='dpt', "
    "output_mode='pts3d+pose', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "pose_mode=('exp', -inf, inf), enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, "
    "dec_depth=12, dec_num_heads=12, landscape_only=False))"
)


def test_model_string_of_the_published_checkpoints():
    assert config_from_arguments(arguments_from_model_string(_PUBLISHED, "x.pth"), "x.pth") == Cut3rConfig()
    linear = _PUBLISHED.replace("'dpt'", "'linear'")
    expected = Cut3rConfig(head_type="linear")
    assert config_from_arguments(arguments_from_model_string(linear, "x.pth"), "x.pth") == expected


@pytest.mark.parametrize("config", [Cut3rConfig(), MINIMAL, TINY, replace(TINY, head_width=32)])
def test_arguments_are_written_as_they_are_read(config):
    assert config_from_arguments(arguments_from_model_string(model_string(config), "x.pth"), "x.pth") == config
    hub = json.loads(json.dumps(official_arguments(config)))
    assert config_from_arguments(hub, "config.json") == config


@pytest.mark.parametrize(("name", "head"), [("cut3r-512", "dpt"), ("cut3r-224", "linear")])
def test_shapes_of_the_published_checkpoints(name, head):
    assert config_from_shapes(inventory(name), "x.pth") == Cut3rConfig(head_type=head)


def test_arguments_of_the_goldens(shared):
    for head in ("linear", "dpt"):
        arguments = json.loads((GOLDENS / f"tiny_{head}.config.json").read_text())["config"]
        for name in ("depth_mode", "conf_mode", "pose_mode"):
            arguments[name] = tuple(float(value) if "inf" in str(value) else value for value in arguments[name])
        config = config_from_arguments(arguments, "x.pth")
        assert config == replace(TINY, head_type=head)
        with gzip.open(GOLDENS / f"tiny_{head}.keys.json.gz") as file:
            keys = {key: tuple(shape) for key, shape in json.load(file).items()}
        with torch.device("meta"):
            own = {key: tuple(value.shape) for key, value in Cut3rNetwork(config).state_dict().items()}
        assert own.items() <= keys.items() and all("layer_rn." in key for key in keys.keys() - own.keys())


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "ARCroco3DStereo(ARCroco3DStereoConfig(enc_depth=__import__('os').getpid()))",
        "ARCroco3DStereo(ARCroco3DStereoConfig(enc_depth=1), 2)",
        "ARCroco3DStereo(enc_depth=1)",
        "ARCroco3DStereo()",
        "AsymmetricCroCo3DStereo(enc_depth=1)",
        "(" * 5000,
    ],
)
def test_model_strings_are_never_executed(text):
    with pytest.raises(InputError, match="x.pth"):
        arguments_from_model_string(text, "x.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head_type": "mlp"}, "head"),
        ({"state_pe": "1d"}, "state_pe"),
        ({"depth_mode": ["linear", 0, 1]}, "depth_mode"),
        ({"state_size": 10**9}, "state_size"),
        ({"enc_embed_dim": "big"}, "enc_embed_dim"),
        ({"state_dec_num_heads": 7}, "divide evenly"),
        ({"pos_embed": "cosine"}, "position embedding"),
        ({"head_width": 3}, "heads"),
    ],
)
def test_arguments_of_other_networks_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        config_from_arguments(arguments, "config.json")


def test_shapes_of_other_networks_are_refused():
    with pytest.raises(InputError, match=r"x\.pth is not a checkpoint of CUT3R"):
        config_from_shapes(inventory("das3r"), "x.pth")

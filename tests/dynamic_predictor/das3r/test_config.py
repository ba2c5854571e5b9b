"""Network sizes from model strings and config.json, and arguments that are refused."""

import json

import pytest

from dynamic_predictor.das3r.config import TwoViewConfig, arguments_from_model_string, config_from_arguments
from dynamic_predictor.das3r.official_layout import official_arguments
from scene.errors import InputError


def test_model_string_of_the_published_checkpoints():
    text = (
        "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
        "head_type='dpt', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
        "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
        "freeze='encoder_and_3d_predictor')"
    )
    assert config_from_arguments(arguments_from_model_string(text, "x.pth"), "x.pth") == TwoViewConfig()
    hub = json.loads(json.dumps(official_arguments(TwoViewConfig())))  # with Infinity, as the hub has it
    assert config_from_arguments(hub, "config.json") == TwoViewConfig()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "AsymmetricCroCo3DStereo(enc_depth=__import__('os').getpid())",
        "AsymmetricCroCo3DStereo(enc_depth=",
        "(" * 5000,
        "AsymmetricCroCo3DStereo",
    ],
)
def test_model_strings_are_never_executed(text):
    with pytest.raises(InputError, match="x.pth"):
        arguments_from_model_string(text, "x.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head_type": "linear"}, "head_type"),
        ({"depth_mode": ["linear", 0, 1]}, "depth_mode"),
        ({"enc_depth": 10**9}, "enc_depth"),
        ({"enc_embed_dim": "big"}, "enc_embed_dim"),
        ({"enc_num_heads": 7}, "divide evenly"),
        ({"pos_embed": "cosine"}, "position embedding"),
        ({"head_width": 3}, "heads"),
    ],
)
def test_arguments_of_other_networks_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        config_from_arguments(arguments, "config.json")

"""The layout of the official training code: aliases of parameters, and checkpoints that the official tools can read."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

import torch

from dynamic_predictor.das3r.config import FIXED, SIZES, TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from scene.files.atomic import atomic_file

#: Four convolutions of every head have two names in published .pth files: `scratch.layer1_rn` to `layer4_rn`, as in
#: our network, and `scratch.layer_rn.0` to `layer_rn.3`. A .safetensors file has only one of the two.
_OWN_NAME = re.compile(r"(?<=\.scratch\.)layer([1-4])_rn(?=\.)")


def key_aliases(keys: Iterable[str]) -> dict[str, str]:
    """Maps the alias to the key, for each of the network's `keys` that has one."""
    return {
        _OWN_NAME.sub(lambda match: f"layer_rn.{int(match[1]) - 1}", key): key for key in keys if _OWN_NAME.search(key)
    }


def official_arguments(config: TwoViewConfig) -> dict[str, object]:
    """The arguments of the official constructor for a network with these sizes."""
    arguments: dict[str, object] = {
        "pos_embed": f"RoPE{config.rotary_base:g}",
        "patch_embed_cls": "PatchEmbedDust3R",
        "img_size": (512, 512),
        **{name: value for name, value in FIXED.items() if name != "mask_mode"},
        **{name: getattr(config, field) for name, field in SIZES.items() if name.startswith(("enc_", "dec_"))},
        "landscape_only": False,
    }
    if config.has_mask_heads:
        arguments["mask_mode"] = FIXED["mask_mode"]
    if (config.head_width, config.head_stage_widths) != (TwoViewConfig.head_width, TwoViewConfig.head_stage_widths):
        arguments |= {"head_width": config.head_width, "head_stage_widths": config.head_stage_widths}
    return arguments


def official_model_string(config: TwoViewConfig) -> str:
    """The constructor call, as text, that the official code evaluates to build the network."""
    text = ", ".join(f"{name}={value!r}" for name, value in official_arguments(config).items())
    return f"AsymmetricCroCo3DStereo({text})"


def save_pth(
    network: TwoViewNetwork, path: str | Path, *, state: dict[str, torch.Tensor] | None = None, **extras: object
) -> None:
    """Writes `model` (parameters with two names under both), `args` with the model string, and `extras` (epoch,
    optimizer, ...). `state` replaces the state of `network` when its parameters are sharded."""
    state = dict(network.state_dict() if state is None else state)
    state |= {alias: state[key] for alias, key in key_aliases(state).items()}
    arguments = argparse.Namespace(model=official_model_string(network.config))
    with atomic_file(path) as temporary:
        torch.save({"args": arguments, "model": state, **extras}, temporary)

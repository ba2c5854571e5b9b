"""Writes checkpoints in the layout of the official training code, so that the official tools can read them."""

import argparse
import math
from pathlib import Path

import torch

from dynamic_predictor.das3r.checkpoint_keys import key_aliases
from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from scene.files.atomic import atomic_file


def official_arguments(config: TwoViewConfig) -> dict[str, object]:
    """The arguments of the official constructor for a network with these sizes."""
    arguments: dict[str, object] = {
        "pos_embed": f"RoPE{config.rotary_base:g}",
        "patch_embed_cls": "PatchEmbedDust3R",
        "img_size": (512, 512),
        "head_type": "dpt",
        "output_mode": "pts3d",
        "depth_mode": ("exp", -math.inf, math.inf),
        "conf_mode": ("exp", 1, math.inf),
        "enc_embed_dim": config.encoder_width,
        "enc_depth": config.encoder_depth,
        "enc_num_heads": config.encoder_heads,
        "dec_embed_dim": config.decoder_width,
        "dec_depth": config.decoder_depth,
        "dec_num_heads": config.decoder_heads,
        "landscape_only": False,
    }
    if config.has_mask_heads:
        arguments["mask_mode"] = ("sigmoid", 0, 1)
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

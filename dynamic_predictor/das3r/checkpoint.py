"""DAS3R and MonST3R out of their published files, as they are.

Accepted are the .pth of the training code (a dictionary with `model` and `args`) and the hub's model.safetensors with
config.json; parameters under either of the names that some have.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynamic_predictor.das3r.config import TwoViewConfig, arguments_from_model_string, config_from_arguments
from dynamic_predictor.das3r.heads import MaskHead
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import Checkpoint, read_checkpoint
from scene.errors import InputError

_MASK_HEAD = "downstream_head_dynamic_mask"
_POINT_HEAD = "downstream_head1."


def load_network(path: str | Path, *, mask_heads: bool, new_mask_heads: bool = False) -> TwoViewNetwork:
    """The network in checkpoint `path`, a file or a folder that holds model.safetensors; float32 on the CPU, in
    evaluation mode.

    `mask_heads`: whether it is to be DAS3R (with) or MonST3R (without). `new_mask_heads`: a MonST3R checkpoint may
    become DAS3R with mask heads that torch initializes, for training. Raises `InputError` for a file of another kind,
    of the other network, or with unknown, missing or mis-shaped keys, which it names.
    """
    checkpoint = read_checkpoint(path)
    path = checkpoint.path
    config = _config(checkpoint)
    tensors = _with_both_decoders(checkpoint.tensors)
    has_mask_heads = any(key.startswith(_MASK_HEAD) for key in tensors)
    is_two_view = any(key.startswith(_POINT_HEAD) for key in tensors)
    if has_mask_heads and is_two_view and not mask_heads:
        raise InputError(f"{path} has mask heads, so it is DAS3R's, not MonST3R's; choose das3r for it.")
    if mask_heads and not has_mask_heads and is_two_view:
        if not new_mask_heads:
            raise InputError(f"{path} has no mask heads, so it is MonST3R's, not DAS3R's; choose monst3r for it.")
        tensors = tensors | _initial_mask_heads(config)
    with torch.device("meta"):
        network = TwoViewNetwork(config if mask_heads else config.without_mask_heads())
    load_into(network, tensors, source=path, description="DAS3R" if mask_heads else "MonST3R")
    return network.eval()


def two_view_predictor(keys: Iterable[str]) -> str | None:
    """Which predictor takes a network of any size with parameters of these names: das3r, monst3r or None."""
    names = set(keys)
    if not any(name.startswith(_POINT_HEAD) for name in names) or "enc_norm.weight" not in names:
        return None
    return "das3r" if any(name.startswith(_MASK_HEAD) for name in names) else "monst3r"


def _with_both_decoders(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where there is one decoder, as after pretraining on single images, it stands for both."""
    if any(key.startswith("dec_blocks2.") for key in tensors):
        return tensors
    twins = {
        key.replace("dec_blocks.", "dec_blocks2.", 1): value.clone()
        for key, value in tensors.items()
        if key.startswith("dec_blocks.")
    }
    return tensors | twins


def _config(checkpoint: Checkpoint) -> TwoViewConfig:
    """From the saved arguments or config.json; the published size when neither says anything."""
    arguments: dict[str, Any] = checkpoint.config or {}
    text = getattr(checkpoint.arguments, "model", None)
    if isinstance(text, str):
        arguments = arguments_from_model_string(text, str(checkpoint.path))
    return config_from_arguments(arguments, str(checkpoint.path))


def _initial_mask_heads(config: TwoViewConfig) -> dict[str, Tensor]:
    return {
        f"{_MASK_HEAD}{number}.{key}": tensor
        for number in (1, 2)
        for key, tensor in MaskHead(config).state_dict().items()
    }

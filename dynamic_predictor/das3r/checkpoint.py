"""DAS3R and MonST3R out of their published files, as they are.

Accepted are the .pth of the training code (a dictionary with `model` and `args`) and the hub's model.safetensors with
config.json; parameters under either of the names that some have (`checkpoint_keys`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynamic_predictor.checkpoint_file import CheckpointFile, load_parameters, read_checkpoint
from dynamic_predictor.das3r.checkpoint_keys import network_key
from dynamic_predictor.das3r.config import TwoViewConfig, arguments_from_model_string, config_from_arguments
from dynamic_predictor.das3r.network import TwoViewNetwork
from scene.errors import InputError

_MASK_HEAD = "downstream_head_dynamic_mask"


def load_network(path: str | Path, *, mask_heads: bool, new_mask_heads: bool = False) -> TwoViewNetwork:
    """The network in checkpoint `path`, float32 on the CPU, in evaluation mode.

    `mask_heads`: whether it is to be DAS3R (with) or MonST3R (without). `new_mask_heads`: a MonST3R checkpoint may
    become DAS3R with mask heads that torch initializes, for training. Raises `InputError` for a file of another kind,
    of the other network, or with unknown, missing or mis-shaped keys, which it names.
    """
    checkpoint = read_checkpoint(path)
    tensors = _with_both_decoders({network_key(key): tensor for key, tensor in checkpoint.tensors.items()})
    has_mask_heads = any(key.startswith(_MASK_HEAD) for key in tensors)
    if has_mask_heads and not mask_heads:
        raise InputError(f"{checkpoint.source} has mask heads, so it is DAS3R's, not MonST3R's; choose das3r for it.")
    if mask_heads and not has_mask_heads and not new_mask_heads and "downstream_head1.dpt.head.0.weight" in tensors:
        raise InputError(
            f"{checkpoint.source} has no mask heads, so it is MonST3R's, not DAS3R's; choose monst3r for it."
        )
    config = _config(checkpoint)
    if not mask_heads:
        config = config.without_mask_heads()
    with torch.device("meta"):
        network = TwoViewNetwork(config)
    if mask_heads and not has_mask_heads and new_mask_heads:
        tensors |= _initial_mask_heads(config)
    load_parameters(network, tensors, source=checkpoint.source, description="DAS3R" if mask_heads else "MonST3R")
    return network.eval()


def _with_both_decoders(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file from before the decoders were two (pretraining) stands for both."""
    if any(key.startswith("dec_blocks2.") for key in tensors):
        return tensors
    twins = {
        key.replace("dec_blocks.", "dec_blocks2.", 1): value.clone()
        for key, value in tensors.items()
        if key.startswith("dec_blocks.")
    }
    return tensors | twins


def _config(checkpoint: CheckpointFile) -> TwoViewConfig:
    """From config.json or the saved arguments; the published size when neither is there."""
    arguments: dict[str, Any] | None = checkpoint.extras.get("config")
    if arguments is None:
        text = getattr(checkpoint.extras.get("args"), "model", None)
        if isinstance(text, str):
            arguments = arguments_from_model_string(text, checkpoint.source)
    return config_from_arguments(arguments or {}, checkpoint.source)


def _initial_mask_heads(config: TwoViewConfig) -> dict[str, Tensor]:
    from dynamic_predictor.das3r.heads import MaskHead

    return {
        f"{_MASK_HEAD}{number}.{key}": tensor
        for number in (1, 2)
        for key, tensor in MaskHead(config).state_dict().items()
    }

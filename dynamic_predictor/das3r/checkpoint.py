"""Loads DAS3R and MonST3R from their published files: the .pth of the training code (a dictionary with `model` and
`args`), or the hub's model.safetensors with config.json. Parameters with two names are accepted under either."""

from collections.abc import Iterable
from dataclasses import replace
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
    """The network in checkpoint `path`, a file or folder; float32 on the CPU, in evaluation mode.

    `mask_heads` chooses DAS3R (true) or MonST3R (false). With `new_mask_heads`, a MonST3R checkpoint becomes DAS3R with
    freshly initialized mask heads, for training. Raises `InputError` for a file of another kind or of the other
    network, and for unknown, missing or mis-shaped keys, which the message names.
    """
    checkpoint = read_checkpoint(path)
    path = checkpoint.path
    config = _config(checkpoint)
    tensors = _with_both_decoders(checkpoint.tensors)
    has_mask_heads = any(key.startswith(_MASK_HEAD) for key in tensors)
    is_two_view = any(key.startswith(_POINT_HEAD) for key in tensors)
    if has_mask_heads and is_two_view and not mask_heads:
        raise InputError(f"{path} has mask heads, so it is a checkpoint of DAS3R, not of MonST3R; choose das3r for it.")
    if mask_heads and not has_mask_heads and is_two_view:
        if not new_mask_heads:
            raise InputError(
                f"{path} has no mask heads, so it is a checkpoint of MonST3R, not of DAS3R; choose monst3r for it."
            )
        for number in (1, 2):
            initial = MaskHead(config).state_dict()
            tensors |= {f"{_MASK_HEAD}{number}.{key}": tensor for key, tensor in initial.items()}
    with torch.device("meta"):
        network = TwoViewNetwork(replace(config, has_mask_heads=mask_heads))
    load_into(network, tensors, source=path, description="DAS3R" if mask_heads else "MonST3R")
    return network.eval()


def two_view_predictor(keys: Iterable[str]) -> str | None:
    """The predictor, "das3r" or "monst3r", whose network has parameters with these names; None for other networks."""
    names = set(keys)
    if not any(name.startswith(_POINT_HEAD) for name in names) or "enc_norm.weight" not in names:
        return None
    return "das3r" if any(name.startswith(_MASK_HEAD) for name in names) else "monst3r"


def _with_both_decoders(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies the first decoder to the second for checkpoints with a single one, as after CroCo's pretraining."""
    if any(key.startswith("dec_blocks2.") for key in tensors):
        return tensors
    twins = {
        key.replace("dec_blocks.", "dec_blocks2.", 1): value.clone()
        for key, value in tensors.items()
        if key.startswith("dec_blocks.")
    }
    return tensors | twins


def _config(checkpoint: Checkpoint) -> TwoViewConfig:
    """The sizes from the saved arguments or config.json; the published sizes if there is neither."""
    arguments: dict[str, Any] = checkpoint.config or {}
    text = getattr(checkpoint.arguments, "model", None)
    if isinstance(text, str):
        arguments = arguments_from_model_string(text, str(checkpoint.path))
    return config_from_arguments(arguments, str(checkpoint.path))

"""Loads CUT3R from its published .pth files, dictionaries with `model` and `args`.

The official training stores its arguments as objects of a configuration package, which are not unpickled; sizes then
follow from the shapes of the tensors.
"""

from pathlib import Path

import torch
from torch import Tensor

from dynamic_predictor.cut3r.config import (
    Cut3rConfig,
    HeadType,
    arguments_from_model_string,
    config_from_arguments,
    config_from_shapes,
)
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import Checkpoint, read_checkpoint
from scene.errors import InputError

_STATE_DECODER, _DECODER = "dec_blocks_state.", "dec_blocks."
_NAMES = {"dpt": "cut3r (512 pixels, DPT heads)", "linear": "cut3r-224 (224 pixels, linear heads)"}


def load_network(path: str | Path, *, head_type: HeadType | None = None) -> Cut3rNetwork:
    """The network in checkpoint `path`, a file or folder; float32 on the CPU, in evaluation mode.

    Raises `InputError` for a file of another network, for one with other heads than `head_type` (if given), and for
    unknown, missing or mis-shaped keys, which the message names.
    """
    checkpoint = read_checkpoint(path)
    tensors = _with_state_decoder(checkpoint.tensors)
    config = _config(checkpoint)
    if head_type is not None and config.head_type != head_type:
        raise InputError(
            f"{checkpoint.path} is a checkpoint of {_NAMES[config.head_type]}, not of {_NAMES[head_type]}; choose the "
            "other predictor for it."
        )
    with torch.device("meta"):
        network = Cut3rNetwork(config)
    load_into(network, tensors, source=checkpoint.path, description="CUT3R")
    return network.eval()


def _with_state_decoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies the decoder of the view to that of the state where there is none, as after DUSt3R's training."""
    if any(key.startswith(_STATE_DECODER) for key in tensors):
        return tensors
    copies = {
        key.replace(_DECODER, _STATE_DECODER, 1): value.clone()
        for key, value in tensors.items()
        if key.startswith(_DECODER)
    }
    return tensors | copies


def _config(checkpoint: Checkpoint) -> Cut3rConfig:
    """The sizes from the saved model string, or config.json beside the file, or the tensors' shapes."""
    source = str(checkpoint.path)
    text = getattr(checkpoint.arguments, "model", None)
    if isinstance(text, str):
        return config_from_arguments(arguments_from_model_string(text, source), source)
    if checkpoint.config is not None and "state_size" in checkpoint.config:
        return config_from_arguments(checkpoint.config, source)
    return config_from_shapes(checkpoint.shapes, source)

"""Loading of the network with published weights, or those of a training run."""

from pathlib import Path

import torch

from dynamic_predictor.streamvggt.architecture import PUBLISHED, Architecture
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.streamvggt.settings import Precision
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_network(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
    architecture: Architecture = PUBLISHED,
) -> GeometryNetwork:
    """The network with the weights at `path` (a plain state dict, a dict of the official training with one under
    `model`, or safetensors), without gradients. Raises `InputError` for a file of another network."""
    checkpoint = read_checkpoint(path)
    with torch.device("meta"):
        network = GeometryNetwork(architecture)
    load_into(network, checkpoint.tensors, source=checkpoint.path, description="VGGT or StreamVGGT")
    network.requires_grad_(False).eval().to(device)
    network.precision = computing_type(precision, torch.device(device))
    return network


def computing_type(precision: Precision, device: torch.device) -> torch.dtype:
    """The type for one of `settings.Precision`; "auto" is bfloat16 on GPUs that support it, otherwise float32."""
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision not in _PRECISIONS:
        raise InputError(f'There is no precision "{precision}"; choose one of: auto, {", ".join(_PRECISIONS)}.')
    return _PRECISIONS[precision]

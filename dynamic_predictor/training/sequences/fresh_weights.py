"""The weights that training starts from: random ones, and those of a file as far as they fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError

#: parameters outside of layers, by the end of their names, and the standard deviation that they are drawn with, as in
#: the published code
_DEVIATIONS = {
    "mem": 0.2,
    "pose_retriever.masked_token": 0.2,
    "register_tokens.weight": 1.0,
    "pose_token": 0.02,
    "masked_img_token": 0.02,
    "masked_ray_map_token": 0.02,
    "cls_token": 0.02,
    "pos_embed": 0.02,
    "register_tokens": 1e-3,
    "camera_token": 1e-3,
    "register_token": 1e-3,
    "query_ref_token": 0.02,
    "virual_tracks": 0.02,
}

#: share of a network's tensors that a file must have: an encoder is enough, a coincidence is not
_LEAST_SHARE = 0.2


def draw_weights(network: nn.Module, seed: int) -> None:
    """Draws all weights of `network` at random: those of linear layers uniformly (Glorot and Bengio, 2010) without
    bias, those of other layers by their own rule, and learned tokens from normal distributions."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.MultiheadAttention):
                nn.init.xavier_uniform_(module.in_proj_weight)
                nn.init.zeros_(module.in_proj_bias)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
        for name, parameter in network.named_parameters():
            deviation = next((value for end, value in _DEVIATIONS.items() if _ends(name, end)), None)
            if deviation is not None:
                nn.init.normal_(parameter, std=deviation)


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def start_from(network: nn.Module, path: str | Path, aliases: Mapping[str, str]) -> list[str]:
    """Copies the tensors of the file at `path` into `network`; returns the names of those that it has not, or not in
    the same shape, which keep their values.

    `aliases` maps other names that parameters may have in files to theirs. In a file of DUSt3R, CUT3R's decoder of the
    state starts from that of images, as in the published code. Raises `InputError` for a file of another network.
    """
    tensors: dict[str, Tensor] = {aliases.get(key, key): value for key, value in read_checkpoint(path).tensors.items()}
    if not any(key.startswith("dec_blocks_state.") for key in tensors):
        copies = {
            key.replace("dec_blocks.", "dec_blocks_state.", 1): value
            for key, value in tensors.items()
            if key.startswith("dec_blocks.")
        }
        tensors = {**tensors, **copies}
    own = network.state_dict()
    fitting = {key: tensors[key] for key, value in own.items() if key in tensors and tensors[key].shape == value.shape}
    if len(fitting) < _LEAST_SHARE * len(own):
        raise InputError(
            f"{path} holds the weights of another network: only {len(fitting)} of {len(own)} tensors fit; give one of "
            "the network that the recipe trains."
        )
    network.load_state_dict(fitting, strict=False)
    return [key for key in own if key not in fitting]

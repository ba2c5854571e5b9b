"""The sizes of a two-view network, read from config.json or from the model string of a published checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamic_predictor.weights.model_string import checked_size, constructor_arguments, described, rotary_base
from scene.errors import InputError


@dataclass(frozen=True)
class TwoViewConfig:
    """Sizes of the network. The defaults are those of the published DAS3R (ViT-L encoder, base decoders, DPT heads).

    DAS3R has mask heads, MonST3R has none.
    """

    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    feed_forward_ratio: float = 4.0
    rotary_base: float = 100.0
    #: channels of the four input feature maps of a prediction head, fine to coarse
    head_stage_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    head_width: int = 256
    has_mask_heads: bool = True

    @property
    def hooked_layers(self) -> tuple[int, int, int, int]:
        """The layers that the heads read: 0 is the encoder's output, k the output of decoder layer k."""
        depth = self.decoder_depth
        return 0, depth // 2, depth * 3 // 4, depth


#: official constructor argument -> field of `TwoViewConfig`
SIZES = {
    "patch_size": "patch_size",
    "enc_embed_dim": "encoder_width",
    "enc_depth": "encoder_depth",
    "enc_num_heads": "encoder_heads",
    "dec_embed_dim": "decoder_width",
    "dec_depth": "decoder_depth",
    "dec_num_heads": "decoder_heads",
    "mlp_ratio": "feed_forward_ratio",
}
#: official constructor argument -> the only value that this network implements
FIXED = {
    "head_type": "dpt",
    "output_mode": "pts3d",
    "depth_mode": ("exp", -math.inf, math.inf),
    "conf_mode": ("exp", 1, math.inf),
    "mask_mode": ("sigmoid", 0, 1),
}
#: upper limits, so that a damaged file cannot demand a network that fits no machine
_LARGEST_WIDTH, _LARGEST_DEPTH = 8192, 256


def config_from_arguments(arguments: Mapping[str, Any], source: str) -> TwoViewConfig:
    """The sizes from the official constructor's `arguments` (config.json, or the model string of a .pth).

    Missing arguments keep their defaults. `source` names the file in errors. Raises `InputError` for arguments of a
    different network (a linear head, another depth mode) and for sizes out of range.
    """
    for name, expected in FIXED.items():
        given = arguments.get(name, expected)
        given = tuple(given) if isinstance(given, list | tuple) else given
        if given != expected:
            raise InputError(
                f"{source} describes a network with {name} {described(given)}; only {expected!r} is supported."
            )
    sizes: dict[str, Any] = {}
    for official, field in SIZES.items():
        if official not in arguments:
            continue
        limit = _LARGEST_DEPTH if official.endswith("depth") else _LARGEST_WIDTH
        whole = field != "feed_forward_ratio"
        sizes[field] = checked_size(arguments[official], official, limit, source, whole=whole)
    if "head_width" in arguments:  # our own argument: all official networks have the default heads
        sizes |= _head_sizes(arguments, source)
    config = TwoViewConfig(**sizes, rotary_base=rotary_base(arguments, source))
    for width, heads in (
        (config.encoder_width, config.encoder_heads),
        (config.decoder_width, config.decoder_heads),
    ):
        if width % (4 * heads):
            raise InputError(
                f"{source} gives {heads} attention heads for {width} features, which do not divide evenly."
            )
    return config


def _head_sizes(arguments: Mapping[str, Any], source: str) -> dict[str, Any]:
    width, stages = arguments["head_width"], arguments.get("head_stage_widths")
    numbers = [width, *(stages if isinstance(stages, list | tuple) else ())]
    if len(numbers) != 5 or not all(isinstance(n, int) and 1 < n <= _LARGEST_WIDTH for n in numbers) or width % 2:
        raise InputError(f"{source} gives invalid sizes of the heads: {described(width)} and {described(stages)}.")
    return {"head_width": width, "head_stage_widths": tuple(numbers[1:])}


def arguments_from_model_string(text: str, source: str) -> dict[str, Any]:
    """The keyword arguments of the constructor call in a checkpoint's `args.model`; nothing is executed.

    Raises `InputError` if it is not a single call of the two-view class with literal arguments.
    """
    return constructor_arguments(text, source, ("AsymmetricCroCo3DStereo",), "DAS3R or MonST3R")

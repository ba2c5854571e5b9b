"""The sizes of CUT3R's network, read from the model string of a checkpoint, from config.json or from its tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dynamic_predictor.weights.keys import Shapes
from dynamic_predictor.weights.model_string import checked_size, constructor_arguments, described, rotary_base
from scene.errors import InputError

HeadType = Literal["linear", "dpt"]


@dataclass(frozen=True)
class Cut3rConfig:
    """Sizes of the network. The defaults are those of the published model of 512 pixels; that of 224 pixels differs in
    `head_type` alone."""

    head_type: HeadType = "dpt"
    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    #: blocks of the encoder of ray maps, which always has 16 attention heads
    ray_encoder_depth: int = 2
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    #: attention heads of the decoder of the state
    state_decoder_heads: int = 16
    #: tokens of the state
    state_size: int = 768
    #: tokens of the memory of poses
    memory_size: int = 256
    #: channels of the four input feature maps of a DPT head, fine to coarse, and of its refinement
    head_stage_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    head_width: int = 256
    feed_forward_ratio: float = 4.0
    rotary_base: float = 100.0

    @property
    def hooked_layers(self) -> tuple[int, int, int, int]:
        """The layers that DPT heads read: 0 is the encoder's output, k the output of decoder layer k."""
        depth = self.decoder_depth
        return 0, depth // 2, depth * 3 // 4, depth


RAY_ENCODER_HEADS = 16
#: official constructor argument -> field of `Cut3rConfig`
SIZES = {
    "patch_size": "patch_size",
    "enc_embed_dim": "encoder_width",
    "enc_depth": "encoder_depth",
    "enc_num_heads": "encoder_heads",
    "ray_enc_depth": "ray_encoder_depth",
    "dec_embed_dim": "decoder_width",
    "dec_depth": "decoder_depth",
    "dec_num_heads": "decoder_heads",
    "state_dec_num_heads": "state_decoder_heads",
    "state_size": "state_size",
    "local_mem_size": "memory_size",
}
#: official constructor argument -> the only value that this network implements
FIXED = {
    "state_pe": "2d",
    "rgb_head": True,
    "pose_head": True,
    "depth_head": False,
    "pose_conf_head": False,
    "output_mode": "pts3d+pose",
    "depth_mode": ("exp", -math.inf, math.inf),
    "conf_mode": ("exp", 1, math.inf),
    "pose_mode": ("exp", -math.inf, math.inf),
    "mlp_ratio": 4,
}
#: upper limit, so that a damaged file cannot demand a network that fits no machine
_LARGEST = 8192
#: features of an attention head in the published encoder and image decoder
_HEAD_WIDTH = 64


def arguments_from_model_string(text: str, source: str) -> dict[str, Any]:
    """The keyword arguments of the configuration in a checkpoint's `args.model`; nothing is executed. Raises
    `InputError` as `constructor_arguments`."""
    return constructor_arguments(text, source, ("ARCroco3DStereo", "ARCroco3DStereoConfig"), "CUT3R")


def config_from_arguments(arguments: Mapping[str, Any], source: str) -> Cut3rConfig:
    """The sizes from the official constructor's `arguments`; missing ones keep their defaults.

    `source` names the file in errors. Raises `InputError` for arguments of a different network and sizes out of range.
    """
    for name, expected in FIXED.items():
        given = arguments.get(name, expected)
        given = tuple(given) if isinstance(given, list | tuple) else given
        if given != expected:
            raise InputError(
                f"{source} describes a network with {name} {described(given)}; only {expected!r} is supported."
            )
    head_type = arguments.get("head_type", "linear")
    if not isinstance(head_type, str) or head_type not in ("linear", "dpt"):
        raise InputError(f"{source} describes a network with heads of type {described(head_type)}; use linear or dpt.")
    sizes: dict[str, Any] = {}
    for official, field in SIZES.items():
        if official not in arguments:
            continue
        sizes[field] = checked_size(arguments[official], official, _LARGEST, source)
    if "head_width" in arguments:  # our own arguments: all official DPT heads have the default sizes
        stages = arguments.get("head_stage_widths")
        sizes |= {
            "head_width": arguments["head_width"],
            "head_stage_widths": tuple(stages) if isinstance(stages, list | tuple) else (),
        }
    return _checked(Cut3rConfig(head_type=head_type, rotary_base=rotary_base(arguments, source), **sizes), source)


def config_from_shapes(shapes: Shapes, source: str) -> Cut3rConfig:
    """The sizes from the shapes of a checkpoint's tensors, for files whose arguments cannot be read safely.

    The numbers of attention heads leave no trace in the shapes: encoder and image decoder get heads of 64 features and
    the state decoder 16 heads, as published. Raises `InputError` for a file of another network.
    """
    try:
        encoder_width, _, patch_size, _ = shapes["patch_embed.proj.weight"]
        decoder_width = shapes["decoder_embed.weight"][0]
        is_dpt = "downstream_head.dpt_self.head.4.weight" in shapes
        sizes: dict[str, Any] = {
            "head_type": "dpt" if is_dpt else "linear",
            "patch_size": patch_size,
            "encoder_width": encoder_width,
            "encoder_depth": _blocks(shapes, "enc_blocks."),
            "encoder_heads": encoder_width // _HEAD_WIDTH,
            "ray_encoder_depth": _blocks(shapes, "enc_blocks_ray_map."),
            "decoder_width": decoder_width,
            "decoder_depth": _blocks(shapes, "dec_blocks."),
            "decoder_heads": decoder_width // _HEAD_WIDTH,
            "state_size": shapes["register_tokens.weight"][0],
            "memory_size": shapes["pose_retriever.mem"][1],
        }
        if is_dpt:
            post = "downstream_head.dpt_self.act_postprocess"
            stages = [shapes[f"{post}.{stage}.0.weight"][0] for stage in range(4)]
            sizes |= {
                "head_stage_widths": tuple(stages),
                "head_width": shapes["downstream_head.dpt_self.head.0.weight"][1],
            }
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{source} is not a checkpoint of CUT3R: its keys are those of another network.") from error
    return _checked(Cut3rConfig(**sizes), source)


def official_arguments(config: Cut3rConfig) -> dict[str, Any]:
    """The arguments of the official constructor for a network with these sizes."""
    arguments: dict[str, Any] = {name: getattr(config, field) for name, field in SIZES.items()}
    arguments |= {name: value for name, value in FIXED.items() if name != "mlp_ratio"}
    side = 512 if config.head_type == "dpt" else 224
    arguments |= {
        "pos_embed": f"RoPE{config.rotary_base:g}",
        "head_type": config.head_type,
        "img_size": (side, side),
        "landscape_only": False,
    }
    published = Cut3rConfig()
    if (config.head_width, config.head_stage_widths) != (published.head_width, published.head_stage_widths):
        arguments |= {"head_width": config.head_width, "head_stage_widths": config.head_stage_widths}
    return arguments


def _blocks(shapes: Shapes, prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def _checked(config: Cut3rConfig, source: str) -> Cut3rConfig:
    for width, heads in (
        (config.encoder_width, config.encoder_heads),
        (config.encoder_width, RAY_ENCODER_HEADS),
        (config.decoder_width, config.decoder_heads),
        (config.decoder_width, config.state_decoder_heads),
    ):
        if heads < 1 or width % (4 * heads):
            raise InputError(
                f"{source} gives {heads} attention heads for {width} features, which do not divide evenly."
            )
    numbers = (config.head_width, *config.head_stage_widths)
    if len(numbers) != 5 or not all(isinstance(n, int) and 1 < n <= _LARGEST for n in numbers) or numbers[0] % 2:
        raise InputError(f"{source} gives invalid sizes of the heads: {described(numbers)}.")
    return config

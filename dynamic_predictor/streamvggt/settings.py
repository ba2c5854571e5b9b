"""Settings of StreamVGGT and VGGT as predictors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scene.errors import InputError
from scene.option import option

Precision = Literal["auto", "float32", "bfloat16"]
DepthSource = Literal["depth", "points"]
#: see `cache.CacheRules`
CachePolicy = Literal["auto", "all", "window", "frames", "tokens"]


def _check_choice(name: str, value: Any, choices: Any) -> None:
    if value not in get_args(choices):
        raise InputError(f'There is no {name} "{value}"; choose one of: {", ".join(get_args(choices))}.')


@dataclass(frozen=True)
class VGGTSettings:
    """Settings of `VGGTPredictor`. Raises `InputError` for values out of range."""

    #: file or folder with weights; None: looked for where weights are kept
    weights: str | Path | None = None
    #: long side in pixels, a multiple of 14, of the images that the network sees
    image_size: int = 518
    #: how images are brought to it, see `preprocessing.Fit`; None: "resize", with `strict_official` "crop"
    fit: str | None = None
    #: what the blocks compute in; the heads are always in float32. "auto": bfloat16 on GPUs that support it
    precision: Precision = option("auto", "what the backbone computes in")
    #: depth and confidence of the depth head, or of the points as the predicted camera sees them
    depth_from: DepthSource = option(
        "depth", "depth of the depth head or of the point head", choices=get_args(DepthSource)
    )
    #: the behavior of the official code where ours differs, see `official`
    strict_official: bool = False

    def __post_init__(self) -> None:
        _check_choice("precision", self.precision, Precision)
        _check_choice("depth source", self.depth_from, DepthSource)


@dataclass(frozen=True)
class StreamVGGTSettings(VGGTSettings):
    """Settings of `StreamVGGTPredictor`. Raises `InputError` for values out of range."""

    #: what is kept of earlier frames, see `cache.CacheRules`
    cache: CachePolicy = option(
        "auto", "what is kept of earlier frames; auto: all of short input, chosen frames of long input",
        choices=get_args(CachePolicy),
    )  # fmt: skip
    #: with the policies window, frames and auto
    cache_frames: int = option(16, "frames that are kept", metavar="N")
    #: per block, with the policy tokens; a frame of 518x392 pixels has 1041
    cache_tokens: int = option(8192, "tokens that are kept in each block", metavar="N")
    #: bits of a number that is kept; None: as computed
    cache_bits: int | None = option(None, "bits of a number that is kept (default: as computed)", choices=(8, 16, 32))

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("cache", self.cache, CachePolicy)
        if self.cache_frames < 2:
            raise InputError(
                f"A cache holds at least 2 frames, not {self.cache_frames}; give --cache-frames 2 or more."
            )
        if self.cache_tokens < 1:
            raise InputError(f"A cache holds at least 1 token, not {self.cache_tokens}.")
        if self.cache_bits not in (None, 8, 16, 32):
            raise InputError(f"A number is kept in 8, 16 or 32 bits, not {self.cache_bits}.")

"""What can be chosen about Depth Anything 3, the sizes of its networks and the table of published models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scene.errors import InputError
from scene.option import option

#: long side in pixels of the images that the networks were trained on
WORKING_SIZE = 504
ReferenceStrategy = Literal["first", "middle", "saddle_balanced", "saddle_sim_range"]
ResizeMethod = Literal["upper_bound_resize", "lower_bound_resize", "upper_bound_crop", "lower_bound_crop"]
Precision = Literal["auto", "float32", "bfloat16"]


def parse_blocks(text: str) -> tuple[int, ...]:
    """Numbers of blocks in a text such as "5,11". Raises `InputError` for anything else."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f'give numbers of blocks with commas between them, such as 5,11, not "{text}"') from None


@dataclass(frozen=True)
class DepthAnything3Settings:
    """Settings of `DepthAnything3Predictor`."""

    #: file or folder with weights; None: looked for where weights are kept
    weights: str | Path | None = None
    #: what the backbone computes in
    precision: Precision = option("auto", "what the backbone computes in")
    #: long side, in pixels, of the images that the network sees, and how images are brought to it
    process_res: int = WORKING_SIZE
    process_res_method: ResizeMethod = option(
        "upper_bound_resize", "how images are brought to --max-size", flags=("--resize-method",)
    )
    use_ray_pose: bool = option(False, "cameras from the rays, not from the camera decoder")
    #: which view is the reference of the others
    ref_view_strategy: ReferenceStrategy = option("saddle_balanced", "the reference view")
    #: also predicts Gaussians (models that have them), and these blocks' features
    infer_gs: bool = False
    export_feat_layers: tuple[int, ...] = option(
        (),
        "blocks whose features feat_vis shows: 5,11",
        metavar="BLOCKS",
        flags=("--export-features",),
        parse=parse_blocks,
    )
    #: bytes above the weights; None: a share of what is free
    memory_budget: int | None = None


@dataclass(frozen=True)
class BackboneSettings:
    """A DINOv2 transformer.

    From block `alternating_from` on (None: never), odd blocks attend across all views, queries and keys are normalized
    and rotated by position, and the out layers concatenate the last tokens from within views with the current ones.
    """

    width: int
    depth: int
    heads: int
    out_layers: tuple[int, int, int, int]
    alternating_from: int | None = None
    feed_forward: Literal["mlp", "swiglu"] = "mlp"

    @property
    def token_width(self) -> int:
        """Channels of the tokens that are the input of the heads."""
        return self.width if self.alternating_from is None else 2 * self.width


@dataclass(frozen=True)
class HeadSettings:
    """Channels of a dense prediction head: `features` of the refinements, `channels` of the four levels before them."""

    features: int
    channels: tuple[int, int, int, int]


@dataclass(frozen=True)
class NetworkSettings:
    """One network: any-view (depth, rays, cameras) if its backbone alternates, otherwise monocular (depth, sky)."""

    backbone: BackboneSettings
    head: HeadSettings
    gaussians: bool = False


@dataclass(frozen=True)
class NestedSettings:
    """An any-view network that is scaled to meters by a metric network."""

    any_view: NetworkSettings
    metric: NetworkSettings


_LARGE_HEAD = HeadSettings(256, (256, 512, 1024, 1024))

SMALL = NetworkSettings(BackboneSettings(384, 12, 6, (5, 7, 9, 11), 4), HeadSettings(64, (48, 96, 192, 384)))
BASE = NetworkSettings(BackboneSettings(768, 12, 12, (5, 7, 9, 11), 4), HeadSettings(128, (96, 192, 384, 768)))
LARGE = NetworkSettings(BackboneSettings(1024, 24, 16, (11, 15, 19, 23), 8), _LARGE_HEAD)
GIANT = NetworkSettings(BackboneSettings(1536, 40, 24, (19, 27, 33, 39), 13, "swiglu"), _LARGE_HEAD, gaussians=True)
MONOCULAR_LARGE = NetworkSettings(BackboneSettings(1024, 24, 16, (4, 11, 17, 23)), _LARGE_HEAD)
NESTED = NestedSettings(GIANT, MONOCULAR_LARGE)


@dataclass(frozen=True)
class PublishedModel:
    """A published model. `weights`: name of its file. `metric`: its depth times focal length / 300 is in meters."""

    name: str
    weights: str
    settings: NetworkSettings | NestedSettings
    metric: bool = False


PUBLISHED_MODELS = {
    model.name: model
    for model in (
        PublishedModel("da3-small", "da3-small", SMALL),
        PublishedModel("da3-base", "da3-base", BASE),
        PublishedModel("da3-large", "da3-large", LARGE),
        PublishedModel("da3-large-1.1", "da3-large-1.1", LARGE),
        PublishedModel("da3-giant", "da3-giant", GIANT),
        PublishedModel("da3-giant-1.1", "da3-giant-1.1", GIANT),
        PublishedModel("da3-nested", "da3nested-giant-large", NESTED),
        PublishedModel("da3-nested-1.1", "da3nested-giant-large-1.1", NESTED),
        PublishedModel("da3-metric", "da3metric-large", MONOCULAR_LARGE, metric=True),
        PublishedModel("da3-mono", "da3mono-large", MONOCULAR_LARGE),
    )
}

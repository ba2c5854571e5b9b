"""The recipes of CUT3R and StreamVGGT by name: those of the published configurations, and small ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.streamvggt.architecture import PUBLISHED, Architecture, DenseHeadSizes, TrackerSizes
from dynamic_predictor.training.datasets.mixtures import MIXTURES
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings, VggtTrainingSettings


@dataclass(frozen=True)
class SequenceRecipe:
    """A named configuration. `start`: the official weights that training starts from, by name in the registry of
    weights; "": random weights unless others are given; otherwise a sentence that says which file has to be given."""

    settings: Cut3rTrainingSettings | VggtTrainingSettings
    network: Cut3rConfig | Architecture
    start: str = ""
    must_start_from: str = ""


def _mixture(name: str) -> Mapping[str, Any]:
    mixture = MIXTURES[name]
    return {
        "samples": dict(mixture.samples),
        "resolutions": mixture.resolutions,
        "least_views": mixture.min_views,
        "views": mixture.max_views,
        "allow_repeats": mixture.allow_repeats,
    }


def _cut3r(mixture: str, learning_rate: float, **others: Any) -> Cut3rTrainingSettings:
    values = {"precision": "bfloat16", "batch_size": 16, "keep_every_epochs": 10, **_mixture(mixture), **others}
    return Cut3rTrainingSettings(learning_rate=learning_rate, **values)


def _vggt(**others: Any) -> VggtTrainingSettings:
    values = {"precision": "bfloat16", "freeze": "encoder", "keep_every_epochs": 1, **_mixture("streamvggt"), **others}
    return VggtTrainingSettings(
        batch_size=1,
        epochs=10,
        warmup_epochs=0.5,
        learning_rate=1e-5,
        least_learning_rate=1e-7,
        saves_per_epoch=10,
        **values,
    )


_LONG = {"freeze": "encoder", "epochs": 10, "warmup_epochs": 0.5, "least_learning_rate": 1e-7}
_CHUNKS = {"chunk_views": 4, "gradient_checkpointing": True}
_LINEAR, _DENSE = Cut3rConfig(head_type="linear"), Cut3rConfig(head_type="dpt")
#: sequences of scenes in the layout of one set, for networks that are trained within minutes on two CPU cores
_SMALL: dict[str, Any] = {
    "samples": {"spring": 64},
    "resolutions": ((112, 112),),
    "least_views": 4,
    "views": 4,
    "batch_size": 2,
    "epochs": 10,
    "warmup_epochs": 0.5,
    "learning_rate": 1e-3,
    "least_learning_rate": 1e-5,
    "color_jitter": 0.1,
    "crop_extra": 3,
    "test_set": "spring",
    "test_samples": 8,
    "test_resolution": (112, 112),
    "keep_every_epochs": 100,
}
_SMALL_CUT3R = Cut3rConfig(
    head_type="linear",
    encoder_width=128,
    encoder_depth=4,
    encoder_heads=4,
    ray_encoder_depth=1,
    decoder_width=96,
    decoder_depth=4,
    decoder_heads=4,
    state_decoder_heads=4,
    state_size=48,
    memory_size=16,
)
_SMALL_HEAD = DenseHeadSizes(32, (16, 32, 48, 48))
_SMALL_VGGT = Architecture(
    width=96,
    depth=4,
    heads=4,
    image_depth=3,
    image_heads=4,
    position_grid=8,
    taps=(0, 1, 2, 3),
    camera_depth=2,
    camera_heads=4,
    dense=_SMALL_HEAD,
    tracker=TrackerSizes(_SMALL_HEAD, levels=3, radius=2, width=48, depth=2, heads=4, virtual_tracks=8),
)

RECIPES: dict[str, SequenceRecipe] = {
    "cut3r-stage1": SequenceRecipe(
        _cut3r("cut3r-stage1", 1e-4, epochs=100, warmup_epochs=10, by_kind=False), _LINEAR
    ),
    "cut3r-stage2": SequenceRecipe(
        _cut3r("cut3r-stage2", 5e-6, epochs=35, warmup_epochs=1), _LINEAR,
        must_start_from="the checkpoint-final.pth of cut3r-stage1",
    ),
    "cut3r-stage3": SequenceRecipe(
        _cut3r("cut3r-stage3", 1e-5, epochs=40, warmup_epochs=2, gradient_checkpointing=True), _DENSE,
        must_start_from="the checkpoint-final.pth of cut3r-stage2",
    ),
    "cut3r-stage4": SequenceRecipe(
        _cut3r("cut3r-stage4", 1e-6, by_kind=False, **_LONG, **_CHUNKS), _DENSE,
        must_start_from="the checkpoint-final.pth of cut3r-stage3",
    ),
    "cut3r-512-vary": SequenceRecipe(
        _cut3r(
            "cut3r-512-vary-4-64", 1e-6, **_LONG, **_CHUNKS,
            batch_size=4, accumulation=4, keep_every_epochs=1, saves_per_epoch=10, test_resolution=(512, 384),
        ),
        _DENSE, start="cut3r-512",
    ),
    "cut3r-224-fixed": SequenceRecipe(
        _cut3r(
            "cut3r-224-fixed-16", 1e-6, **_LONG,
            batch_size=6, accumulation=2, keep_every_epochs=1, saves_per_epoch=10,
        ),
        _LINEAR, start="cut3r-224",
    ),
    "cut3r-small": SequenceRecipe(Cut3rTrainingSettings(**_SMALL), _SMALL_CUT3R),
    "streamvggt": SequenceRecipe(_vggt(), PUBLISHED, start="vggt"),
    "vggt-points": SequenceRecipe(_vggt(task="points", freeze="all_but_points"), PUBLISHED, start="vggt"),
    "streamvggt-small": SequenceRecipe(
        VggtTrainingSettings(**_SMALL, query_points=16), _SMALL_VGGT,
    ),
    "vggt-small": SequenceRecipe(VggtTrainingSettings(**_SMALL, task="points"), _SMALL_VGGT),
}  # fmt: skip

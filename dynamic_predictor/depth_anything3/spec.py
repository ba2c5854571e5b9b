"""The rows of Depth Anything 3, one per published model."""

from typing import TYPE_CHECKING, Any

from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS, WORKING_SIZE, NestedSettings, PublishedModel
from dynamic_predictor.depth_anything3.weights import WEIGHTS
from dynamic_predictor.predictor_spec import PredictorSpec

if TYPE_CHECKING:
    from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor
    from dynamic_predictor.parity.case import ParityCase

#: views that see each other at once: memory grows with their square
_LARGEST_VIEWS = 60
_MEMORY = {"small": 2, "base": 3, "large": 5, "giant": 10, "nested": 12, "metric": 3, "mono": 3}


def _settings_type() -> type:
    from dynamic_predictor.depth_anything3.settings import DepthAnything3Settings

    return DepthAnything3Settings


def _row(model: PublishedModel) -> PredictorSpec:
    def load(settings: Any, device: str, seed: int) -> "DepthAnything3Predictor":
        from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor

        return DepthAnything3Predictor(model.name, settings, device=device, seed=seed)

    def parity_case() -> "ParityCase":
        from dynamic_predictor.depth_anything3.parity import parity_case

        return parity_case(model.name)

    size = model.name.removeprefix("da3-")
    nested = isinstance(model.settings, NestedSettings)
    network = model.settings.any_view if isinstance(model.settings, NestedSettings) else model.settings
    cameras = network.backbone.alternating_from is not None
    kind = "cameras and depth" if cameras else "depth of single images"
    unit = " in meters" if nested else " in meters where the angle of view is known" if model.metric else ""
    return PredictorSpec(
        name=model.name,
        description=f"Depth Anything 3, {size}: {kind}{unit}",
        memory=f"about {_MEMORY[size.split('-')[0]]} GiB of RAM for 50 frames, estimated",
        documentation="docs/depth_anything3.md",
        settings_type=_settings_type,
        load=load,
        weights=(WEIGHTS[model.weights],),
        parity_case=None if size.endswith("-1.1") else parity_case,
        cameras=cameras,
        metric=nested or model.metric,
        metric_needs_focal=model.metric and not nested,
        single_view=True,
        known_focal=model.metric,
        known_poses=cameras,
        gaussians=network.gaussians,
        features=True,
        mixed_sizes=True,
        largest_views=_LARGEST_VIEWS if cameras else 1,
        working_size=WORKING_SIZE,
        size_setting="process_res",
    )


SPECS = tuple(_row(model) for model in PUBLISHED_MODELS.values())

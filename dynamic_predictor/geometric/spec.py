"""The `PredictorSpec` of the weight-free predictor."""

from typing import TYPE_CHECKING, Any

from dynamic_predictor.predictor_spec import PredictorSpec

if TYPE_CHECKING:
    from dynamic_predictor.geometric.predictor import GeometricPredictor


def _settings_type() -> type:
    from dynamic_predictor.geometric.settings import GeometricSettings

    return GeometricSettings


def _load(settings: Any, device: str, seed: int) -> "GeometricPredictor":
    from dynamic_predictor.geometric.predictor import GeometricPredictor

    return GeometricPredictor(settings, device=device, seed=seed)


SPEC = PredictorSpec(
    name="geometric",
    description="weight-free: optical flow, bundle adjustment, depth and motion from flow",
    memory="under 3 GiB of RAM at 512 pixels, no GPU",
    documentation="docs/geometric.md",
    settings_type=_settings_type,
    load=_load,
    motion=True,
    known_focal=True,
    finds_lens=True,
    known_masks=True,
    shares_focal=True,
    flow=True,
)

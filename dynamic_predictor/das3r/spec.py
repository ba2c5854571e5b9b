"""The rows of DAS3R and MonST3R."""

from typing import TYPE_CHECKING, Any

from dynamic_predictor.das3r.weights import DAS3R, MONST3R
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.weights.entry import WeightsFile

if TYPE_CHECKING:
    from dynamic_predictor.das3r.predictor import TwoViewPredictor
    from dynamic_predictor.parity.case import ParityCase


def _settings_type() -> type:
    from dynamic_predictor.das3r.settings import TwoViewSettings

    return TwoViewSettings


def _row(entry: WeightsFile, description: str, *, motion: bool) -> PredictorSpec:
    def load(settings: Any, device: str, seed: int) -> "TwoViewPredictor":
        from dynamic_predictor.das3r.predictor import TwoViewPredictor

        return TwoViewPredictor(entry, settings, device=device)  # nothing in it is random

    def parity_case() -> "ParityCase":
        from dynamic_predictor.das3r.parity import parity_case

        return parity_case(entry.name)

    return PredictorSpec(
        name=entry.name,
        description=description,
        memory="about 7 GiB of RAM for 50 frames at 512 pixels; a GPU turns an hour into a minute",
        documentation="docs/das3r.md",
        settings_type=_settings_type,
        load=load,
        weights=(entry,),
        parity_case=parity_case,
        motion=motion,
        attention_motion="Easi3R",
        confidence_of_depth=False,
        single_view=True,
        known_focal=True,
        known_masks=True,
        flow=True,
    )


SPECS = (
    _row(DAS3R, "DAS3R: points and motion of pairs of frames by a network, then global alignment", motion=True),
    _row(MONST3R, "MonST3R: the same without motion masks of its own", motion=False),
)

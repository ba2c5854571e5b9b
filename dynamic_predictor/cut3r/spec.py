"""The rows of CUT3R."""

from typing import TYPE_CHECKING, Any

from dynamic_predictor.cut3r.weights import CUT3R_224, CUT3R_512
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.weights.entry import WeightsFile

if TYPE_CHECKING:
    from dynamic_predictor.cut3r.config import HeadType
    from dynamic_predictor.cut3r.predictor import Cut3rPredictor
    from dynamic_predictor.parity.case import ParityCase


def _settings_type() -> type:
    from dynamic_predictor.cut3r.settings import Cut3rSettings

    return Cut3rSettings


def _row(name: str, entry: WeightsFile, head_type: "HeadType", size: int) -> PredictorSpec:
    def load(settings: Any, device: str, seed: int) -> "Cut3rPredictor":
        from dynamic_predictor.cut3r.predictor import Cut3rPredictor

        return Cut3rPredictor(entry, head_type, settings, device=device)  # nothing in it is random

    def parity_case() -> "ParityCase":
        from dynamic_predictor.cut3r.parity import parity_case

        return parity_case(head_type)

    return PredictorSpec(
        name=name,
        description=f"CUT3R, {size} pixels: cameras and depth in meters, one frame after the other",
        memory="about 4 GiB of RAM, whatever the length of the clip",
        documentation="docs/cut3r.md",
        settings_type=_settings_type,
        load=load,
        weights=(entry,),
        parity_case=parity_case,
        parity_name=f"{entry.name}-{head_type}",
        attention_motion="VGGT4D",
        metric=True,
        single_view=True,
        known_focal=True,
        online=True,
        working_size=512,
    )


SPECS = (_row("cut3r", CUT3R_512, "dpt", 512), _row("cut3r-224", CUT3R_224, "linear", 224))

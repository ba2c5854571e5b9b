"""The rows of StreamVGGT and VGGT."""

from typing import TYPE_CHECKING, Any

from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.streamvggt.weights import STREAMVGGT, VGGT

if TYPE_CHECKING:
    from dynamic_predictor.parity.case import ParityCase
    from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor, VGGTPredictor

#: views that see each other at once: time grows with their square
_LARGEST_VIEWS = 60
_WORKING_SIZE = 518


def _streaming_settings() -> type:
    from dynamic_predictor.streamvggt.settings import StreamVGGTSettings

    return StreamVGGTSettings


def _settings() -> type:
    from dynamic_predictor.streamvggt.settings import VGGTSettings

    return VGGTSettings


def _load_streaming(settings: Any, device: str, seed: int) -> "StreamVGGTPredictor":
    from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor

    return StreamVGGTPredictor(settings, device=device)  # nothing in it is random


def _load(settings: Any, device: str, seed: int) -> "VGGTPredictor":
    from dynamic_predictor.streamvggt.predictor import VGGTPredictor

    return VGGTPredictor(settings, device=device)


def _streaming_parity_case() -> "ParityCase":
    from dynamic_predictor.streamvggt.parity import parity_case

    return parity_case("streamvggt")


def _parity_case() -> "ParityCase":
    from dynamic_predictor.streamvggt.parity import parity_case

    return parity_case("vggt")


SPECS = (
    PredictorSpec(
        name=STREAMVGGT.name,
        description="StreamVGGT: cameras and depth frame by frame, with a bounded memory of earlier frames",
        memory="about 13 GiB of RAM for clips of any length, estimated",
        documentation="docs/streamvggt.md",
        settings_type=_streaming_settings,
        load=_load_streaming,
        weights=(STREAMVGGT,),
        parity_case=_streaming_parity_case,
        attention_motion="VGGT4D",
        single_view=True,
        online=True,
        working_size=_WORKING_SIZE,
    ),
    PredictorSpec(
        name=VGGT.name,
        description="VGGT: cameras and depth of up to 60 frames that see each other, longer clips in chunks",
        memory="about 12 GiB of RAM for 50 frames, estimated",
        documentation="docs/streamvggt.md",
        settings_type=_settings,
        load=_load,
        weights=(VGGT,),
        parity_case=_parity_case,
        attention_motion="VGGT4D",
        single_view=True,
        largest_views=_LARGEST_VIEWS,
        working_size=_WORKING_SIZE,
    ),
)

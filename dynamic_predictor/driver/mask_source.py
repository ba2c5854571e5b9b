"""Where `--masks-from` takes motion masks from: the masks of a predictor, or the attention of its network."""

from dataclasses import dataclass
from typing import cast

from dynamic_predictor.contract import AttentionPredictor, Predictor, Views
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import create_predictor, predictor_spec, specs
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.progress import Progress

_ATTENTION = "attention"


@dataclass(frozen=True)
class MaskSource:
    """A predictor that gives motion masks: its own, or those of its attention."""

    spec: PredictorSpec
    is_attention: bool

    @property
    def provenance(self) -> str:
        """As recorded in `scene.json`."""
        if self.is_attention:
            return f"attention of {self.spec.name} ({self.spec.attention_motion})"
        return f"predicted ({self.spec.name})"

    @property
    def uses_flow(self) -> bool:
        """Whether --flow changes the masks."""
        return self.spec.flow and not self.is_attention


def mask_source(settings: DriverSettings) -> MaskSource:
    """The source that `masks_from` names: "attention" of the predictor itself, "attention:NAME" of another one, or
    "NAME", the masks of another predictor. Raises `InputError` for an unknown name and for a predictor that has none of
    these."""
    given = settings.masks_from
    assert given is not None
    kind, separator, name = given.partition(":")
    if kind != _ATTENTION:
        spec = predictor_spec(given)
        if not spec.motion:
            able = ", ".join(row.name for row in specs().values() if row.motion)
            raise InputError(
                f"The predictor {spec.name} finds no motion masks; choose another for --masks-from: {able}."
            )
        return MaskSource(spec, is_attention=False)
    spec = predictor_spec(name) if separator else settings.spec
    if spec.attention_motion is None:
        able = ", ".join(row.name for row in specs().values() if row.attention_motion is not None)
        raise InputError(
            f"No motion is found in the attention of {spec.name}; give --masks-from attention:NAME with one of: {able}."
        )
    return MaskSource(spec, is_attention=True)


def attention_masks(
    source: MaskSource,
    frames: Frames,
    settings: DriverSettings,
    predictor: Predictor | None,
    progress: Progress,
) -> FrameMaps:
    """The masks of a source that is attention. `predictor`: the one of the settings, where it is there already; it is
    used where the source is its own attention."""
    if predictor is None or source.spec.name != settings.spec.name:
        predictor = create_predictor(source.spec.name, device=settings.device, seed=settings.seed)
    return cast(AttentionPredictor, predictor).attention_motion(Views(frames), progress=progress)

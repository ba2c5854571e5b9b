"""The contract that every dynamic predictor keeps, and the registry by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


class Predictor(Protocol):
    """Turns frames into a scene."""

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        """`masks` are the user's own motion masks (1 = moves): they always win over what the predictor finds."""
        ...


@dataclass(frozen=True)
class PredictorEntry:
    """A predictor as it stands in the registry. `create(seed)` builds it and is where heavy imports happen."""

    name: str
    description: str
    weights_license: str | None
    memory: str
    create: Callable[[int], Predictor]


def _create_geometric(seed: int) -> Predictor:
    from dynamic_predictor.geometric.predictor import GeometricPredictor

    return GeometricPredictor(seed=seed)


_REGISTRY = {
    entry.name: entry
    for entry in [
        PredictorEntry(
            name="geometric",
            description="weight-free: optical flow, bundle adjustment, epipolar motion",
            weights_license=None,
            memory="under 3 GiB of RAM at 512 pixels, no GPU",
            create=_create_geometric,
        )
    ]
}


def available_predictors() -> dict[str, PredictorEntry]:
    """All predictors by name."""
    return dict(_REGISTRY)


def create_predictor(name: str, *, seed: int = 0) -> Predictor:
    """The predictor called `name`; raises `InputError` that lists the known names otherwise."""
    if name not in _REGISTRY:
        raise InputError(f'There is no predictor called "{name}"; choose one of: {", ".join(sorted(_REGISTRY))}.')
    return _REGISTRY[name].create(seed)

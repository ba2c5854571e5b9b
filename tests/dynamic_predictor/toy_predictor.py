"""A predictor in one file, as docs/architecture.md describes it: settings, predictor and row.

It finds the same plane in every frame, one view after the other; its state is the number of views that it has seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.progress import Progress, ignore_progress


@dataclass(frozen=True)
class ToySettings:
    """Settings of `ToyPredictor`."""

    #: depth of the plane
    depth: float = 3.0


class ToyPredictor:
    """Keeps the contract of `dynamic_predictor.contract.OnlinePredictor`."""

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings
        self.seen = 0
        #: positions of all views that `step` was given, over all clips
        self.steps: list[int] = []

    def start(self) -> None:
        self.seen = 0

    def step(self, view: Views) -> Prediction:
        self.steps.append(self.seen)
        found = self._plane(view, self.seen)
        self.seen += len(view)
        return found

    def state(self) -> dict[str, np.ndarray]:
        return {"seen": np.array(self.seen)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.seen = int(state["seen"])

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        return self._plane(views, 0)

    def _plane(self, views: Views, first: int) -> Prediction:
        count, height, width = len(views), views.frames.height, views.frames.width
        poses = np.tile(np.eye(4), (count, 1, 1))
        poses[:, 0, 3] = 0.1 * np.arange(first, first + count)
        maps = np.ones((count, height, width), np.float32)
        return Prediction(
            z_depth=maps * np.float32(self.settings.depth),
            confidence=maps * np.float32(0.5),
            world_from_camera=poses,
            intrinsics=np.tile([[50.0, 0, width / 2], [0, 50.0, height / 2], [0, 0, 1]], (count, 1, 1)),
            motion=np.zeros_like(maps),
            warnings=("This is a toy.",),
        )


SPEC = PredictorSpec(
    name="toy",
    description="a plane in front of a camera that slides",
    memory="nothing",
    documentation="docs/architecture.md",
    settings_type=lambda: ToySettings,
    load=lambda settings, device, seed: ToyPredictor(settings),
    motion=True,
    online=True,
    single_view=True,
)

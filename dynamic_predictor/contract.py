"""The contract that every dynamic predictor keeps."""

from typing import Protocol

from scene.frames import Frames
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


class Predictor(Protocol):
    """Turns frames into a scene."""

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        """`masks` are the user's own motion masks (1 = moves): they always win over what the predictor finds."""
        ...

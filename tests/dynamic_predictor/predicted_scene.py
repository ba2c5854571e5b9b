"""Scenes of predictors without the driver's other stages, for tests."""

from typing import Any

from dynamic_predictor.contract import Predictor, Views
from dynamic_predictor.driver.scenes import scene_of_prediction
from scene.frames import Frames
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


def predicted_scene(
    predictor: Predictor, frames: Frames, *, progress: Progress = ignore_progress, **known: Any
) -> Scene:
    """The scene of `frames`, with what is `known` about them (fields of `Views`)."""
    return scene_of_prediction(predictor.predict(Views(frames, **known), progress=progress), frames)

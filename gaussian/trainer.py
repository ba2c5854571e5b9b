"""Optimizes the static Gaussians of a scene together with its cameras, exposures and static weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaussian.model import Gaussians
from gaussian.settings import TrainSettings
from scene.camera import Camera
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


@dataclass
class TrainResult:
    """What an optimization ends with; `gaussian.model_folder` saves and loads it."""

    gaussians: Gaussians
    #: refined, one for every frame of the scene, held-out frames included
    cameras: list[Camera]
    #: (frames, 3, 2) float32: picture = gain * render + offset per channel; gain in [..., 0], offset in [..., 1]
    exposures: np.ndarray
    #: learned static weight (H, W) per frame, 1 = static; of held-out frames: 1 - motion mask
    static_weights: FrameMaps
    #: one dict per report: iteration, loss, psnr (static pixels of recent training frames), gaussians, seconds
    history: list[dict[str, float]]
    settings: TrainSettings
    #: indices of the held-out frames
    test_frames: list[int] = field(default_factory=list)
    #: "none held out", "interpolated correction", "predictor" or "optimized on static pixels"
    test_cameras: str = "none held out"
    #: scores of the held-out frames, each named after its protocol
    test_metrics: dict[str, Any] = field(default_factory=dict)


def train(
    scene: Scene,
    settings: TrainSettings,
    model_folder: Path | None,
    *,
    annotations: FrameMaps | None = None,
    progress: Progress = ignore_progress,
    resume: bool = False,
) -> TrainResult:
    """Static Gaussians of `scene`.

    `model_folder` receives settings.json, cameras.json, point_cloud/iteration_N/point_cloud.ply, history.json and
    checkpoint.pt; None writes nothing. `annotations` (1 = moves, size of the frames) are used only to score held-out
    frames and for `refine_test_cameras`. With `resume` the run goes on from the checkpoint in `model_folder` and ends
    with the result that it would have had without the interruption. Ctrl-C writes a checkpoint and raises
    KeyboardInterrupt. Progress stages: "initializing", "optimizing".

    Raises `InputError` when nothing static is left to learn from, when the checkpoint does not fit the scene and the
    settings, and when the folder cannot be written.
    """
    raise NotImplementedError

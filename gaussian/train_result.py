"""What an optimization ends with."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaussian.settings import TrainSettings
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.maps import FrameMaps


@dataclass
class TrainResult:
    """`gaussian.model_folder` loads what of it is on the disk."""

    gaussians: Gaussians
    #: refined, one for every frame of the scene, held-out frames included
    cameras: list[Camera]
    #: (frames, 3, 2) float32: image = gain * render + offset per channel; gain in [..., 0], offset in [..., 1]
    exposures: np.ndarray
    #: learned static weight (H, W) per frame, 1 = static; of held-out frames: 1 - motion mask
    static_weights: FrameMaps
    #: one dict per report: iteration, loss, psnr (static pixels of a recent training frame), gaussians, seconds
    history: list[dict[str, float]]
    settings: TrainSettings
    #: indices of the held-out frames
    test_frames: list[int] = field(default_factory=list)
    #: "none held out", "predictor", "interpolated correction" or "optimized on static pixels"
    test_cameras: str = "none held out"
    #: scores of the held-out frames, each named after its protocol
    test_metrics: dict[str, Any] = field(default_factory=dict)

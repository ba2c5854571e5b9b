"""The result of an optimization."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaussian.settings import TrainSettings
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.maps import FrameMaps


@dataclass
class TrainResult:
    """The Gaussians with refined cameras, exposures and static weights, and the scores of held-out frames."""

    gaussians: Gaussians
    #: refined cameras of all frames of the scene, including held-out ones
    cameras: list[Camera]
    #: (frames, 3, 2) float32: gain [..., 0] and offset [..., 1] per channel; image = gain * render + offset
    exposures: np.ndarray
    #: learned static weight (H, W) per frame, 1 = static; for held-out frames that of the motion mask alone
    static_weights: FrameMaps
    #: one entry per 50 iterations: iteration, loss, psnr (of the static pixels of a recent frame), gaussians, seconds
    history: list[dict[str, float]]
    settings: TrainSettings
    #: indices of the held-out frames
    test_frames: list[int] = field(default_factory=list)
    #: "none held out", "predictor", "interpolated correction" or "optimized on static pixels"
    test_cameras: str = "none held out"
    #: scores of the held-out frames by the names of their protocols
    test_metrics: dict[str, Any] = field(default_factory=dict)

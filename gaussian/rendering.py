"""Pictures of Gaussians from a camera, without gradients."""

from dataclasses import dataclass

import numpy as np

from gaussian.model import Gaussians
from scene.camera import Camera


@dataclass(frozen=True)
class Rendering:
    """What a camera sees of the Gaussians."""

    #: float32 RGB (H, W, 3) in [0, 1]
    image: np.ndarray
    #: float32 (H, W), how much of each pixel is covered
    alpha: np.ndarray
    #: float32 (H, W), expected z depth where alpha is above a half, else 0
    z_depth: np.ndarray


def render(gaussians: Gaussians, camera: Camera, *, exposure: np.ndarray | None = None) -> Rendering:
    """Renders at the camera's size. `exposure` (3, 2) holds gain and offset per channel; without it the picture has the
    clip's mean exposure. Black background."""
    raise NotImplementedError

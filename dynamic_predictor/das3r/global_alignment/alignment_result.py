"""The result of global alignment."""

from dataclasses import dataclass, field

import numpy as np

from scene.camera import Camera


@dataclass
class Alignment:
    """Cameras, depths and motion of N frames of H x W pixels in one world."""

    world_from_camera: np.ndarray  #: (N, 4, 4) float64, rigid, OpenCV axes
    intrinsics: np.ndarray  #: (N, 3, 3) float64 in pixels with pixel centers at +0.5
    z_depth: np.ndarray  #: (N, H, W) float32 in scene units
    #: (N, H, W) float32: the largest confidence that the network gives a pixel in any pair, 0 where the point stands in
    #: front of a more confident pixel of another frame
    confidence: np.ndarray
    #: (N, H, W) float32 in [0, 1], 1 = moves; None if it is unknown
    motion_probability: np.ndarray | None = None
    motion_masks: np.ndarray | None = None  #: (N, H, W) bool, true = moves; None if motion is unknown
    losses: list[float] = field(default_factory=list)  #: of every iteration
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  #: by stage

    def __len__(self) -> int:
        return len(self.world_from_camera)

    def cameras(self) -> list[Camera]:
        """The camera of every frame."""
        _, height, width = self.z_depth.shape
        return cameras_of(height, width, self.intrinsics, self.world_from_camera)


def cameras_of(height: int, width: int, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> list[Camera]:
    """Cameras with images of `height` x `width` pixels, `intrinsics` (N, 3, 3) and poses (N, 4, 4)."""
    pairs = zip(intrinsics, world_from_camera, strict=True)
    return [Camera.from_intrinsics(width, height, matrix, pose) for matrix, pose in pairs]

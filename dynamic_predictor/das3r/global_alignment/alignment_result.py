"""What global alignment gives."""

from dataclasses import dataclass, field

import numpy as np

from scene.camera import Camera


@dataclass
class Alignment:
    """Cameras, depths and motion of N frames of H x W pixels in one world.

    `world_from_camera` (N, 4, 4) float64, rigid, OpenCV axes. `intrinsics` (N, 3, 3) float64 in pixels with pixel
    centres at +0.5. `z_depth` (N, H, W) float32 in scene units, 0 = unknown."""

    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    z_depth: np.ndarray
    #: (N, H, W) float32: the networks' largest per pixel, 0 where the point stands in front of what others see
    confidence: np.ndarray
    #: the same before that
    initial_confidence: np.ndarray
    #: (N, H, W) float32 in [0, 1], 1 = moves: mean over pairs and the largest; None if nothing tells
    motion_probability: np.ndarray | None
    largest_motion_probability: np.ndarray | None
    #: (N, H, W) bool
    motion_masks: np.ndarray | None
    #: value of every iteration's loss
    losses: list[float]
    #: pixel (u, v) was taken to be at (u, v) + this during alignment
    pixel_offset: float
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.world_from_camera)

    @property
    def official_intrinsics(self) -> np.ndarray:
        """(N, 3, 3) as the official code writes them: for pixel (u, v) at (u, v)."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:, :2, 2] -= 0.5
        return intrinsics

    def cameras(self) -> list[Camera]:
        """A camera for every frame."""
        _, height, width = self.z_depth.shape
        return [
            Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], pose)
            for k, pose in zip(self.intrinsics, self.world_from_camera, strict=True)
        ]

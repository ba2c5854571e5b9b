"""A scene whose true images are known: a textured wall with a step in depth, a sliding camera, and a moving square."""

from dataclasses import dataclass

import numpy as np

from gaussian.settings import TrainSettings
from scene.camera import Camera
from scene.maps import StoredMaps
from scene.scene import Scene

WIDTH, HEIGHT, COUNT = 72, 48, 12


@dataclass
class MemoryFrames:
    """Frames of a clip at 25 per second, as uint8 images (N, H, W, 3) in memory."""

    images: np.ndarray

    def __post_init__(self) -> None:
        self.height, self.width = self.images.shape[1:3]
        self.names = [f"{index:05d}.png" for index in range(len(self.images))]
        self.timestamps = [index / 25 for index in range(len(self.images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index].astype(np.float32) / 255

    def rgb8(self, index: int) -> np.ndarray:
        return self.images[index]


def cameras() -> list[Camera]:
    """Cameras that slide to the right."""
    result = []
    for index in range(COUNT):
        pose = np.eye(4)
        pose[:2, 3] = 0.08 * (index - COUNT / 2), 0.05 * np.sin(index)
        result.append(Camera(WIDTH, HEIGHT, 60.0, 60.0, WIDTH / 2, HEIGHT / 2, pose))
    return result


def ray_depth(camera: Camera) -> np.ndarray:
    """Exact z depth: a wall at z = 4 and, on the right of the world, a nearer one at z = 3."""
    u = (np.arange(WIDTH) + 0.5 - camera.cx) / camera.fx
    near = np.broadcast_to(u * 3.0 + camera.center[0] > 0.2, (HEIGHT, WIDTH))
    return np.where(near, 3.0, 4.0)


def make_scene(*, mover: bool = True, masked: bool = True) -> Scene:
    """Exact images; with `mover` a red square of 14 pixels crosses them, which the masks show if `masked`."""
    all_cameras = cameras()
    images = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.float32)
    masks, depths, confidences = (StoredMaps(COUNT, HEIGHT, WIDTH, np.float32) for _ in range(3))
    for index, camera in enumerate(all_cameras):
        depth = ray_depth(camera)
        points = camera.unproject(depth)
        x, y = points[..., 0], points[..., 1]
        images[index, ..., 0] = 0.5 + 0.3 * np.sin(5 * x) * np.cos(4 * y)
        images[index, ..., 1] = 0.5 + 0.3 * np.cos(7 * x + 2 * y)
        images[index, ..., 2] = 0.4 + 0.2 * np.sin(6 * y)
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        if mover:
            column = 4 + 4 * index
            images[index, 16:30, column : column + 14] = 0.9, 0.1, 0.1
            mask[16:30, column : column + 14] = float(masked)
        masks[index], depths[index], confidences[index] = mask, depth, np.ones_like(mask)
    frames = MemoryFrames(np.rint(images * 255).astype(np.uint8))
    return Scene(frames, all_cameras, masks, depths, confidences)


SETTINGS = TrainSettings(iterations=120, max_gaussians=2500, resolution_schedule=False, checkpoint_every=0)

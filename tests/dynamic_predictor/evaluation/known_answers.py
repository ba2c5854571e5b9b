"""A predictor that returns the truth of the test clips, with optional errors."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.errors import InputError
from scene.frames import Frames
from scene.images import write_png
from scene.maps import FrameMaps, LoadedMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

HEIGHT, WIDTH, COUNT = 48, 64, 6
DEPTH = 2.0


def true_poses(count: int = COUNT) -> np.ndarray:
    """Poses (N, 4, 4) on a curved path with a slow rotation."""
    times = np.linspace(0, 1, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(times, [0.1, 0.3, 0.0])).as_matrix()
    poses[:, :3, 3] = np.stack([times, times**2, 0.3 * times], axis=1)
    return poses


def texture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)


@dataclass(frozen=True)
class OracleSettings:
    """The errors of the oracle's predictions."""

    focal: float | None = None
    depth_factor: float = 0.25
    fails_on: str = ""


class Oracle:
    """Predicts the true path in another scale and frame, constant depth, and the left half of each frame as moving."""

    calls: list[int] = []

    def __init__(self) -> None:
        self.settings = OracleSettings()

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        Oracle.calls.append(len(frames))
        if self.settings.fails_on == "input":
            raise InputError("The oracle does not like this clip.")
        if self.settings.fails_on == "bug":
            raise ZeroDivisionError("an error of ours")
        if self.settings.fails_on == "memory":
            raise MemoryError
        turn = Rotation.from_rotvec([0.3, -0.2, 0.1]).as_matrix()
        cameras = []
        for pose in true_poses()[: len(frames)]:
            moved = np.eye(4)
            moved[:3, :3], moved[:3, 3] = turn @ pose[:3, :3], 0.25 * turn @ pose[:3, 3] + [5, 0, 1]
            focal = self.settings.focal or 60.0
            cameras.append(
                Camera(frames.width, frames.height, focal, focal, frames.width / 2, frames.height / 2, moved)
            )
        shape = (frames.height, frames.width)
        left = np.zeros(shape, np.float32)
        left[:, : frames.width // 2] = 1
        count = len(frames)
        depth = np.full(shape, self.settings.depth_factor * DEPTH, np.float32)
        return Scene(
            frames,
            cameras,
            motion_masks=masks if masks is not None else LoadedMaps(count, lambda index: left),
            z_depths=LoadedMaps(count, lambda index: depth),
            confidences=LoadedMaps(count, lambda index: np.full(shape, 0.5, np.float32)),
            predictor="oracle",
            provenance={"warnings": ["an oracle may be wrong."]},
        )


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)

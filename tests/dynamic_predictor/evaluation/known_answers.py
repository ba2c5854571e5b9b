"""A predictor that returns the truth of the test clips, with optional errors."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.errors import InputError
from scene.images import write_png
from scene.progress import Progress, ignore_progress

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

    depth_factor: float = 0.25
    fails_on: str = ""


class Oracle:
    """Predicts the true path in another scale and frame, constant depth, and the left half of each frame as moving."""

    calls: list[int] = []

    def __init__(self, settings: OracleSettings) -> None:
        self.settings = settings

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        frames = views.frames
        Oracle.calls.append(len(frames))
        if self.settings.fails_on == "input":
            raise InputError("The oracle does not like this clip.")
        if self.settings.fails_on == "bug":
            raise ZeroDivisionError("an error of ours")
        if self.settings.fails_on == "memory":
            raise MemoryError
        turn = Rotation.from_rotvec([0.3, -0.2, 0.1]).as_matrix()
        poses = np.tile(np.eye(4), (len(frames), 1, 1))
        for moved, pose in zip(poses, true_poses(), strict=False):
            moved[:3, :3], moved[:3, 3] = turn @ pose[:3, :3], 0.25 * turn @ pose[:3, 3] + [5, 0, 1]
        focal = views.focal or 60.0
        matrix = [[focal, 0, frames.width / 2], [0, focal, frames.height / 2], [0, 0, 1]]
        maps = np.zeros((len(frames), frames.height, frames.width), np.float32)
        left = maps.copy()
        left[..., : frames.width // 2] = 1
        return Prediction(
            z_depth=maps + np.float32(self.settings.depth_factor * DEPTH),
            confidence=maps + np.float32(0.5),
            world_from_camera=poses,
            intrinsics=np.tile(matrix, (len(frames), 1, 1)),
            motion=views.motion_masks if views.motion_masks is not None else left,
            warnings=["an oracle may be wrong."],
        )


ORACLE = PredictorSpec(
    name="oracle",
    description="knows",
    memory="none",
    documentation="docs/evaluation.md",
    settings_type=lambda: OracleSettings,
    load=lambda settings, device, seed: Oracle(settings),
    motion=True,
    single_view=True,
    known_focal=True,
)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)

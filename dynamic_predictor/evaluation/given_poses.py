"""True poses that a user gives for the frames of a clip, in a file or a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.poses import associate
from dynamic_predictor.evaluation.scores.poses import PoseScores, score_poses
from scene.camera import Camera
from scene.errors import InputError
from scene.files.text import read_rows
from scene.formats.tum import poses_from_rows, read_tum
from scene.truth import TruthScene

#: seconds between a frame and its pose, as in the TUM RGB-D benchmark
_TOLERANCE = 0.02
#: an alignment with scale needs three
_FEWEST = 3


@dataclass(frozen=True)
class GivenPoses:
    """True world_from_camera (N, 4, 4) of the `frames` (N) of a clip."""

    frames: Sequence[int]
    world_from_camera: np.ndarray

    def of(self, cameras: Sequence[Camera]) -> np.ndarray:
        """The estimated poses (N, 4, 4) of the same frames; `cameras` are those of all frames of the clip."""
        return np.stack([cameras[frame].world_from_camera for frame in self.frames])

    def score(self, cameras: Sequence[Camera]) -> PoseScores:
        """ATE and RPE of `cameras`, those of all frames of the clip, after an alignment with scale (sim3)."""
        return score_poses(self.of(cameras), self.world_from_camera)


def read_given_poses(path: str | Path, timestamps: Sequence[float]) -> GivenPoses:
    """The poses in `path` for frames at `timestamps` in seconds.

    `path` is a file in the format of TUM (`timestamp tx ty tz qx qy qz qw`), a `pred_traj.txt` of DAS3R (index,
    position, quaternion with w first; recognized by its name), or a folder with such a file or of a rendered scene with
    truth. As many poses as frames belong to them in their order; else they are associated by time, within 20 ms.
    Raises `InputError` for other files, and if fewer than three frames have a pose.
    """
    path = Path(path).expanduser()
    times, poses = _read(path)
    if len(poses) == len(timestamps):
        pairs = [(index, index) for index in range(len(poses))]
    else:
        pairs = associate(np.asarray(timestamps, np.float64), times, _TOLERANCE)
    if len(pairs) < _FEWEST:
        raise InputError(
            f"{path} has {len(poses)} poses, of which {len(pairs)} belong to the {len(timestamps)} frames; give one "
            f"pose per frame, or times in seconds within {_TOLERANCE:g} s of those of at least {_FEWEST} frames."
        )
    return GivenPoses([frame for frame, _ in pairs], poses[[row for _, row in pairs]])


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and world_from_camera (N, 4, 4)."""
    if path.is_dir():
        for name in ("pred_traj.txt", "trajectory.txt"):
            if (path / name).is_file():
                return _read(path / name)
        truth = TruthScene(path)
        return np.asarray(truth.times), np.stack([camera.world_from_camera for camera in truth.cameras])
    if path.name == "pred_traj.txt":
        rows = read_rows(path, columns=8)
        return rows[:, 0], poses_from_rows(path, rows[:, 1:4], rows[:, 4:8])
    return read_tum(path)

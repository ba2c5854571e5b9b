"""The curves of the window, as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynamic_predictor.evaluation.given_poses import GivenPoses
from dynamic_predictor.evaluation.scores.poses import PoseScores
from scene.camera import Camera
from scene.similarity import align_poses


@dataclass(frozen=True)
class TrajectoryPlot:
    """Camera centers on two axes: (N, 2), in scene units or, with a truth, in its units."""

    estimated: np.ndarray
    true: np.ndarray | None
    axes: tuple[str, str]
    scores: PoseScores | None

    @property
    def sentence(self) -> str:
        """The errors in words."""
        if self.scores is None:
            return "No true poses; --gt-poses FILE shows ATE and RPE."
        return (
            f"ATE {self.scores.ate:.4g}, RPE {self.scores.rpe_translation:.4g} and "
            f"{self.scores.rpe_rotation_degrees:.3g} deg (sim3, units of the truth, {self.scores.frames} frames)"
        )


def trajectory_plot(cameras: Sequence[Camera], truth: GivenPoses | None) -> TrajectoryPlot:
    """Camera centers on the two coordinate axes with the largest variance, aligned to the truth if there is one."""
    poses = np.stack([camera.world_from_camera for camera in cameras])
    true, scores, seen = None, None, poses[:, :3, 3]
    if truth is not None:
        poses = align_poses(truth.of(cameras), truth.world_from_camera).apply_to_poses(poses)
        true, scores = truth.world_from_camera[:, :3, 3], truth.score(cameras)
        seen = true
    first, second = sorted(int(axis) for axis in np.argsort(seen.var(axis=0), kind="stable")[-2:])
    pick = [first, second]
    return TrajectoryPlot(
        poses[:, :3, 3][:, pick], None if true is None else true[:, pick], ("xyz"[first], "xyz"[second]), scores
    )


def curve(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Iterations, and the values of `name` at them that are finite."""
    entries = [(entry["iteration"], entry[name]) for entry in history if np.isfinite(entry[name])]
    return [float(x) for x, _ in entries], [float(y) for _, y in entries]

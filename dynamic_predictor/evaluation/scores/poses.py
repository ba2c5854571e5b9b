"""Scores of estimated against true camera paths, and a plot of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.files.atomic import atomic_file
from scene.similarity import align_poses
from scene.trajectory import absolute_trajectory_error, relative_pose_error


@dataclass(frozen=True)
class PoseScores:
    """Root mean square errors after a Sim(3) alignment of all camera centers (Umeyama, 1991)."""

    frames: int
    #: distance of camera centers, in units of the truth
    ate: float
    #: error of the motion from each frame to the next: in units of the truth, and in degrees
    rpe_translation: float
    rpe_rotation_degrees: float


def score_poses(estimated: np.ndarray, true: np.ndarray) -> PoseScores:
    """Scores of world_from_camera poses (N, 4, 4). Raises `ValueError` for fewer than two or different numbers."""
    relative = relative_pose_error(estimated, true)
    return PoseScores(
        frames=len(true),
        ate=absolute_trajectory_error(estimated, true).rmse,
        rpe_translation=relative.translation,
        rpe_rotation_degrees=relative.rotation_degrees,
    )


def plot_trajectory(path: Path, estimated: np.ndarray, true: np.ndarray | None, *, title: str) -> None:
    """Plots the camera centers of poses (N, 4, 4) on the two coordinate axes with the largest variance.

    With true poses, the estimated ones are aligned to them, and a line joins the two centers of each frame.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ours = np.asarray(estimated, np.float64)
    theirs = None if true is None else np.asarray(true, np.float64)[:, :3, 3]
    if theirs is not None:
        assert true is not None
        ours = align_poses(ours, true).apply_to_poses(ours)
    centers = ours[:, :3, 3]
    first, second = sorted(np.argsort((centers if theirs is None else theirs).var(axis=0))[-2:])
    figure = Figure(figsize=(6, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if theirs is not None:
        for ours_point, true_point in zip(centers, theirs, strict=True):
            pair = np.stack([ours_point, true_point])
            axes.plot(pair[:, first], pair[:, second], color="0.85", linewidth=0.8, zorder=0)
        axes.plot(theirs[:, first], theirs[:, second], color="0.7", linewidth=4, label="true")
    axes.plot(centers[:, first], centers[:, second], color="#d9663b", label="estimated")
    axes.plot(*centers[0, [first, second]], "o", color="#d9663b", markersize=5)
    axes.set(xlabel="xyz"[first], ylabel="xyz"[second], title=title)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(color="0.93")
    if theirs is not None:
        axes.legend(frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120)

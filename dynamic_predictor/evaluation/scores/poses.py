"""Estimated against true camera paths, with the figures that papers report, and their image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.files.atomic import atomic_file
from scene.similarity import align_poses
from scene.trajectory import absolute_trajectory_error, relative_pose_error


@dataclass(frozen=True)
class PoseScores:
    """After one Sim(3) alignment of all camera centres (Umeyama, 1991); root mean squares."""

    frames: int
    #: distance of the aligned camera centres, in the truth's unit
    ate: float
    #: error of the motion from each frame to the next: in the truth's unit, and in degrees
    rpe_translation: float
    rpe_rotation_degrees: float


def score_poses(estimated: np.ndarray, true: np.ndarray) -> PoseScores:
    """Scores of world_from_camera poses (N, 4, 4), N at least 2, of the same moments. Raises `ValueError` otherwise."""
    relative = relative_pose_error(estimated, true)
    return PoseScores(
        frames=len(true),
        ate=absolute_trajectory_error(estimated, true).rmse,
        rpe_translation=relative.translation,
        rpe_rotation_degrees=relative.rotation_degrees,
    )


def plot_trajectory(path: Path, estimated: np.ndarray, true: np.ndarray | None, *, title: str) -> None:
    """Draws camera centres of poses (N, 4, 4) over the two axes along which they differ most; whole or not at all.

    With true poses, the estimate is aligned to them first and lines join what belongs together; else it stands alone.
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

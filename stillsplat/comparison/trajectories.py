"""The camera paths of several runs in one plot, in the world of the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scene.trajectory import path_length
from stillsplat.comparison.runs import ComparedRun, SharedFrames
from stillsplat.report.camera_section import upright_basis
from stillsplat.report.charts import Plot, path_chart
from stillsplat.scores.camera_alignment import align_cameras

#: title, indices of the horizontal and vertical axis (right, ahead, up), caption
_PLOTS = (
    ("From above", 0, 1, "viewing direction up the page"),
    ("From the side", 1, 2, "viewing direction to the right"),
)
_AXES = ("right", "ahead", "up")
#: lines that differ in color and dashes, see compare.css; further runs use them again
_LINES = 7


@dataclass(frozen=True)
class AlignedPath:
    """The path of one run after the similarity that aligns it with that of the first."""

    name: str
    #: class of its line in the plots
    line: str
    #: (N, 3), in the world of the first run
    centers: np.ndarray
    #: how far its cameras are from those of the first run, as a share of the length of the path, and in degrees (root
    #: mean squares); None for the first, and of a camera that does not move
    distance: float | None
    rotation_degrees: float | None


def aligned_paths(runs: Sequence[ComparedRun], shared: SharedFrames) -> list[AlignedPath]:
    """The camera paths over the frames that all runs have."""
    cameras = [
        [run.scene.cameras[index] for index in column]
        for run, column in zip(runs, zip(*shared.indices, strict=True), strict=True)
    ]
    length = path_length(np.array([camera.world_from_camera for camera in cameras[0]]))
    paths = []
    for number, (run, own) in enumerate(zip(runs, cameras, strict=True)):
        centers = np.array([camera.center for camera in own])
        if number == 0:
            paths.append(AlignedPath(run.name, "path", centers, None, None))
            continue
        alignment = align_cameras(own, cameras[0])
        share = alignment.center_error / length if length > 0 else None
        moved = alignment.similarity.apply_to_points(centers)
        line = f"run-{(number - 1) % _LINES + 1}"
        paths.append(AlignedPath(run.name, line, moved, share, alignment.rotation_error_degrees))
    return paths


def path_plots(runs: Sequence[ComparedRun], shared: SharedFrames, paths: Sequence[AlignedPath]) -> list[Plot]:
    """The plots from above and from the side."""
    cameras = [runs[0].scene.cameras[row[0]] for row in shared.indices]
    directions = np.array([camera.world_from_camera[:3, 2] for camera in cameras])
    basis, plots = upright_basis(cameras), []
    for title, across, up, caption in _PLOTS:
        axes = np.stack([basis[across], basis[up]], axis=1)
        chart = path_chart(
            paths[0].centers @ axes,
            directions @ axes,
            title=f"camera paths, {title.lower()}",
            axes=(_AXES[across], _AXES[up]),
            others=[(path.name, path.line, path.centers @ axes) for path in paths[1:]],
            unit="scene units",
        )
        plots.append(Plot(chart, title, caption))
    return plots

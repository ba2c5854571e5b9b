"""Which Gaussians rest on something that a frame has shown.

The optimization also places Gaussians where every frame is masked, to close holes or because nothing says no. They are
guesses: they may hide what is behind them, and what they show was never seen.
"""

from collections.abc import Sequence

import numpy as np

from scene.gaussians import Gaussians
from scene.progress import Progress
from stillsplat.plate.warping import BEHIND, StaticView

#: frames in which a Gaussian must lie in view, at the surface or in front of it, where nothing is hidden
_FRAMES = 2


def grounded(gaussians: Gaussians, views: Sequence[StaticView], progress: Progress) -> np.ndarray:
    """Bool (N,): which of the `gaussians` some frames have shown. Progress stage: "checking what was seen"."""
    positions = gaussians.world_means()
    seen = np.zeros(len(positions), np.int64)
    for index, view in enumerate(views):
        progress("checking what was seen", index + 1, len(views))
        pixels, z = view.camera.project(positions)
        columns, rows = (np.floor(np.nan_to_num(pixels[:, axis], nan=-1.0)).astype(np.int64) for axis in (0, 1))
        height, width = view.hidden.shape
        inside = np.flatnonzero((z > 0) & (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height))
        row, column = rows[inside], columns[inside]
        shown = ~view.hidden[row, column] & (z[inside] <= view.z_depth[row, column] * (1 + BEHIND))
        seen[inside[shown]] += 1
    return seen >= _FRAMES

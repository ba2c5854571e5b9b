"""depth_vis: each image beside its depth map in color, as JPEG files.

The colors are those of Depth Anything 3: inverse depth in matplotlib's Spectral (red is near), between the 2nd and 98th
percentile of the map itself.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scene.depth_colors import depth_colors
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.images import write_jpeg
from scene.progress import Progress


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes depth_vis/0000.jpg, ...; replaces an earlier depth_vis."""
    assert source.z_depths is not None
    depths = source.z_depths
    pairs = ((source.frames.rgb8(index), depths[index]) for index in range(len(depths)))
    write_depth_vis(folder / "depth_vis", pairs, overwrite=True)


def write_depth_vis(
    folder: str | Path, pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, overwrite: bool = False
) -> int:
    """Writes 0000.jpg, ... of (image uint8 RGB (H, W, 3), depth (H, W)) pairs; returns their number.

    The folder appears whole or not at all. Raises `InputError` when there are no pairs, and when the folder exists and
    `overwrite` is not set.
    """
    count = 0
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for image, z_depth in pairs:
            write_jpeg(temporary / f"{count:04d}.jpg", depth_beside(image, z_depth))
            count += 1
        if not count:
            raise InputError(f"There is no depth to write to {folder}.")
    return count


def depth_beside(image: np.ndarray, z_depth: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, 2 W, 3): the image and the colors of its depth."""
    return np.hstack([image, depth_colors(z_depth)])

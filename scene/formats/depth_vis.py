"""depth_vis: each image beside its depth map in color, as JPEG files.

The colors are those of Depth Anything 3: inverse depth in matplotlib's Spectral (red is near), between the 2nd and 98th
percentile of the map itself.
"""

from pathlib import Path

import numpy as np

from scene.depth_colors import depth_colors
from scene.files.atomic import atomic_folder
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.images import write_jpeg
from scene.progress import Progress


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes depth_vis/0000.jpg, ..., whole or not at all."""
    assert source.z_depths is not None
    with atomic_folder(folder / "depth_vis", overwrite=True) as temporary:
        for index in range(len(source.z_depths)):
            image = depth_beside(source.frames.rgb8(index), source.z_depths[index])
            write_jpeg(temporary / f"{index:04d}.jpg", image)


def depth_beside(image: np.ndarray, z_depth: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, 2 W, 3): the image and the colors of its depth."""
    return np.hstack([image, depth_colors(z_depth)])

"""ply: a point cloud as a binary little-endian PLY file with float x y z and uchar red green blue."""

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress

_RECORD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes points.ply."""
    points = source.point_cloud(options, progress)
    vertices = np.empty(len(points.positions), _RECORD)
    for axis, name in enumerate(("x", "y", "z")):
        vertices[name] = points.positions[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = points.colors[:, channel]
    with atomic_file(folder / "points.ply") as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))

"""Point clouds as PLY: binary little endian, float x y z and uchar red green blue, which every viewer reads."""

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from scene.files.atomic import atomic_file
from scene.scene import PointCloud

_RECORD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])


def write_points_ply(path: str | Path, points: PointCloud) -> None:
    """Writes world points; whole or not at all."""
    vertices = np.empty(len(points.positions), _RECORD)
    for axis, name in enumerate(("x", "y", "z")):
        vertices[name] = points.positions[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = points.colors[:, channel]
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))

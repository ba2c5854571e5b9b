"""ply: a point cloud as a binary little-endian PLY file with float x y z and uchar red green blue.

Where single precision would move points by more than a little of their spread, x y z are double.
"""

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress

#: rounding of coordinates that is allowed, as a share of the spread of the points
_ROUNDING = 1e-5


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes points.ply."""
    points = source.point_cloud(options, progress)
    kind = "<f4" if is_single_enough(points.positions) else "<f8"
    columns = [(name, kind) for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(points.positions), columns)
    for axis, name in enumerate(("x", "y", "z")):
        vertices[name] = points.positions[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = points.colors[:, channel]
    with atomic_file(folder / "points.ply") as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def is_single_enough(positions: np.ndarray) -> bool:
    """Whether float32 keeps points (N, 3) well enough for what is drawn of them."""
    positions = np.asarray(positions, np.float64)
    if len(positions) < 2:
        return True
    spread = float(np.max(np.subtract(*np.percentile(positions, [95, 5], axis=0))))
    return float(np.spacing(np.float32(np.abs(positions).max()))) <= _ROUNDING * spread

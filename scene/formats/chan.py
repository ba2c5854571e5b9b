"""chan: the cameras as a text file for Nuke, Houdini, Maya and Blender.

One line per frame: frame number from 1 on, position, rotation about the x, y and z axis in degrees in the order ZXY
(Nuke's standard: about z first), and the vertical field of view in degrees. Axes are x right, y up, z backward, in
world and camera.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.files.atomic import atomic_file
from scene.files.text import read_rows
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress
from scene.rotations import affine_matrix

_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes cameras.chan."""
    write_chan(folder / "cameras.chan", source.cameras)


def write_chan(path: str | Path, cameras: Sequence[Camera], *, numbers: Sequence[int] | None = None) -> None:
    """Writes the file, whole or not at all; frames have `numbers`, by default from 1 on. A principal point off the
    middle cannot be said in it."""
    lines = []
    for number, camera in zip(numbers or range(1, len(cameras) + 1), cameras, strict=True):
        matrix = _FLIP_YZ @ camera.world_from_camera @ _FLIP_YZ
        z, x, y = Rotation.from_matrix(matrix[:3, :3]).as_euler("zxy", degrees=True)
        view = math.degrees(2 * math.atan(camera.height / (2 * camera.fy)))
        values = [*matrix[:3, 3], x, y, z, view]
        lines.append(f"{number} " + " ".join(np.format_float_positional(value, trim="0") for value in values))
    with atomic_file(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines))


def read_chan(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """world_from_camera (N, 4, 4) in our axes, and vertical fields of view (N,) in degrees. Raises `InputError`."""
    rows = read_rows(Path(path), columns=8)
    rotations = Rotation.from_euler("zxy", rows[:, [6, 4, 5]], degrees=True).as_matrix()
    return _FLIP_YZ @ affine_matrix(rotations, rows[:, 1:4]) @ _FLIP_YZ, rows[:, 7]

"""tum: a trajectory with one line `timestamp tx ty tz qx qy qz qw` per pose, world_from_camera.

Format of the TUM RGB-D benchmark (Sturm et al., IROS 2012).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.text import read_rows
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress
from scene.rotations import affine_matrix, quaternion_from_rotation, rotation_from_quaternion


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes trajectory.txt."""
    poses = np.stack([camera.world_from_camera for camera in source.cameras])
    write_tum(folder / "trajectory.txt", source.frames.timestamps, poses)


def write_tum(path: str | Path, timestamps: Sequence[float], world_from_cameras: np.ndarray) -> None:
    """Writes times in seconds and world_from_camera (N, 4, 4); the file appears whole or not at all."""
    poses = np.asarray(world_from_cameras, np.float64)
    if len(poses) != len(timestamps):
        raise ValueError(f"{len(timestamps)} timestamps for {len(poses)} poses")
    wxyz = quaternion_from_rotation(poses[:, :3, :3])
    rows = np.column_stack([timestamps, poses[:, :3, 3], wxyz[:, [1, 2, 3, 0]]])
    with atomic_file(path) as temporary:
        temporary.write_text(
            "# timestamp tx ty tz qx qy qz qw\n"
            + "".join(" ".join(np.format_float_positional(x, trim="0") for x in row) + "\n" for row in rows)
        )


def read_tum(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) in seconds and world_from_camera (N, 4, 4). Raises `InputError` for lines without exactly eight finite
    numbers and for quaternions whose length is not 1."""
    path = Path(path)
    rows = read_rows(path, columns=8)
    return rows[:, 0], poses_from_rows(path, rows[:, 1:4], rows[:, [7, 4, 5, 6]])


def poses_from_rows(path: Path, translations: np.ndarray, quaternions: np.ndarray) -> np.ndarray:
    """world_from_camera (N, 4, 4) of translations (N, 3) and quaternions wxyz (N, 4), which are normalized. Raises
    `InputError` that names `path` for a quaternion whose length is more than 5 % off 1."""
    lengths = np.linalg.norm(quaternions, axis=1)
    if (np.abs(lengths - 1.0) > 0.05).any():
        line = int(np.argmax(np.abs(lengths - 1.0) > 0.05))
        raise InputError(f"{path} has a quaternion of length {lengths[line]:.3g} in pose {line}; it must be 1.")
    return affine_matrix(rotation_from_quaternion(quaternions), translations)

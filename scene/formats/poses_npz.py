"""poses_npz: the cameras as arrays in one uncompressed file.

world_from_camera, camera_from_world   (N, 4, 4) float64, OpenCV axes
intrinsics                             (N, 3, 3) float64 in pixels of the frames
times                                  (N,) float64 in seconds
"""

from pathlib import Path

import numpy as np

from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes poses.npz."""
    with atomic_file(folder / "poses.npz") as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            world_from_camera=np.stack([camera.world_from_camera for camera in source.cameras]),
            camera_from_world=np.stack([camera.camera_from_world for camera in source.cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in source.cameras]),
            times=np.asarray(source.frames.timestamps),
        )

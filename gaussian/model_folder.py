"""The folder of an optimized model, which `gaussian.trainer.train` writes and `load_model` reads.

settings.json                             settings, names and size of the frames, whether the scene has motion masks,
                                          held-out frames and their scores
cameras.json                              refined cameras, as in a scene folder
exposures.json                            gain and offset per frame and channel
point_cloud/iteration_N/point_cloud.ply   the Gaussians
history.json                              loss, PSNR, number of Gaussians and seconds during the run
checkpoint.pt                             the state of the run, for `--resume`
painted_masks/                            motion masks with what was painted during the run, if anything was
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.camera_files import read_cameras
from scene.errors import InputError
from scene.files.json_files import read_json
from scene.formats.splat_ply import load_ply
from scene.gaussians import Gaussians


@dataclass
class Model:
    """Optimized Gaussians with the cameras and exposures of the clip."""

    gaussians: Gaussians
    cameras: list[Camera]
    #: (frames, 3, 2) gain and offset
    exposures: np.ndarray
    #: frames per second of the clip
    frame_rate: float
    #: the content of settings.json
    description: dict[str, Any]


def point_cloud_path(folder: Path, iteration: int) -> Path:
    """The PLY file of the Gaussians of an iteration."""
    return folder / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"


def load_model(folder: Path) -> Model:
    """The Gaussians of the newest run in `folder`. Raises `InputError` if a file is missing or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of an optimized model (train_gui.py -m).")
    if not (folder / "settings.json").exists():
        raise InputError(f"{folder} has no settings.json; give the folder of an optimized model (train_gui.py -m).")
    description = read_json(folder / "settings.json")
    frames = description.get("frames")
    size = description.get("width"), description.get("height")
    if not isinstance(frames, list) or not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(f"{folder / 'settings.json'} is damaged: the names or the size of the frames are missing.")
    width, height = size
    cameras = read_cameras(folder / "cameras.json", [str(name) for name in frames], int(width), int(height))  # type: ignore[arg-type]
    values = read_json(folder / "exposures.json").get("exposures") if (folder / "exposures.json").exists() else None
    exposures = np.tile(np.array([1.0, 0.0], np.float32), (len(cameras), 3, 1))
    if values is not None:
        try:
            exposures = np.asarray(values, np.float32).reshape(len(cameras), 3, 2)
        except (TypeError, ValueError):
            raise InputError(f"{folder / 'exposures.json'} is damaged or of another clip; train again.") from None
    iterations = [
        int(path.parent.name.removeprefix("iteration_"))
        for path in folder.glob("point_cloud/iteration_*/point_cloud.ply")
        if path.parent.name.removeprefix("iteration_").isdigit()
    ]
    if not iterations:
        raise InputError(f"{folder} has no point_cloud.ply yet; let train_gui.py finish first.")
    newest = description.get("iterations")  # an earlier, longer run may have left Gaussians of a later iteration
    gaussians = load_ply(point_cloud_path(folder, newest if newest in iterations else max(iterations)))
    rate = description.get("frame_rate")
    frame_rate = float(rate) if isinstance(rate, int | float) and 0.1 < rate < 1000 else 30.0
    return Model(gaussians, cameras, exposures, frame_rate, description)

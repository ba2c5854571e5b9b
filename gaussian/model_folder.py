"""The folder of an optimized model, which `gaussian.trainer.train` writes and `load_model` reads.

settings.json                             settings, names and size of the frames, whether the scene has motion masks,
                                          held-out frames and their scores; "iterations" names the Gaussians below, null
                                          while a run goes on or was stopped
cameras.json                              refined cameras, as in a scene folder
exposures.json                            gain and offset per frame and channel
point_cloud/iteration_N/point_cloud.ply   the Gaussians
history.json                              loss, PSNR, number of Gaussians and seconds during the run
checkpoint.pt                             the state of the run, for `--resume`
painted_masks/                            motion masks with what was painted during the run, if anything was
"""

import shutil
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

#: longest side of an image in pixels
MAX_SIDE = 1 << 16


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


def names_a_model(folder: Path) -> bool:
    """Whether settings.json in `folder` names finished Gaussians; they may be damaged."""
    try:
        return isinstance(read_json(folder / "settings.json").get("iterations"), int)
    except InputError:
        return False


def remove_model(folder: Path) -> None:
    """Removes everything that an earlier run has left in `folder`, except cameras.json and settings.json, which the
    next one replaces, and the checkpoint."""
    for path in (*folder.glob("point_cloud/iteration_*"), folder / "painted_masks"):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("exposures.json", "history.json"):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("renders/*/render.json"):
        shutil.rmtree(path.parent, ignore_errors=True)


def load_model(folder: Path) -> Model:
    """The Gaussians that settings.json in `folder` names. Raises `InputError` if a file is missing or damaged, and for
    a run that has not finished."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of an optimized model (train_gui.py -m).")
    if not (folder / "settings.json").exists():
        raise InputError(f"{folder} has no settings.json; give the folder of an optimized model (train_gui.py -m).")
    description = read_json(folder / "settings.json")
    frames = description.get("frames")
    size = description.get("width"), description.get("height")
    if not isinstance(frames, list) or not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"{folder / 'settings.json'} is damaged: the names or the size of the frames are missing.")
    width, height = size
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{folder / 'settings.json'} is damaged: frames of {width:.6g}x{height:.6g} pixels.")
    iteration = _iteration(folder, description)
    cameras = read_cameras(folder / "cameras.json", [str(name) for name in frames], width, height)
    values = read_json(folder / "exposures.json").get("exposures") if (folder / "exposures.json").exists() else None
    exposures = np.tile(np.array([1.0, 0.0], np.float32), (len(cameras), 3, 1))
    if values is not None:
        try:
            exposures = np.asarray(values, np.float64).reshape(len(cameras), 3, 2).astype(np.float32)
            damaged = not np.isfinite(exposures).all()
        except (TypeError, ValueError, OverflowError):
            damaged = True
        if damaged:
            raise InputError(f"{folder / 'exposures.json'} is damaged or of another clip; train again.")
    gaussians = load_ply(point_cloud_path(folder, iteration))
    rate = description.get("frame_rate")
    frame_rate = float(rate) if isinstance(rate, int | float) and 0.1 < rate < 1000 else 30.0
    return Model(gaussians, cameras, exposures, frame_rate, description)


def _iteration(folder: Path, description: dict[str, Any]) -> int:
    """The iteration whose Gaussians are the model's."""
    found = [path.parent.name.removeprefix("iteration_") for path in folder.glob("point_cloud/iteration_*/*.ply")]
    iterations = sorted(int(name) for name in found if name.isascii() and name.isdecimal() and len(name) < 10)
    unfinished = f"{folder} has no point_cloud.ply yet; let train_gui.py finish first (--resume)."
    if "iterations" in description:
        named = description["iterations"]
        if named is None:
            raise InputError(unfinished)
        if named not in iterations or isinstance(named, bool):
            raise InputError(f"{folder / 'settings.json'} names iteration {str(named)[:20]}, which is not in {folder}.")
        return named
    if not iterations:
        raise InputError(unfinished)
    if len(iterations) > 1:  # of an earlier version
        raise InputError(
            f"{folder} holds Gaussians of {len(iterations)} iterations, and settings.json does not say which are those "
            "of its cameras; train again with --overwrite."
        )
    return iterations[0]

"""The folder of an optimized model, which `gaussian.trainer.train` writes and `load_model` reads.

settings.json                             settings, names and size of the frames, whether the scene has motion masks,
                                          the local frame of the run, held-out frames and their scores; "iterations"
                                          names the Gaussians below, null while a run goes on or was stopped
cameras.json                              refined cameras, in the list that viewers of 3DGS read (`scene.formats.sibr`)
cfg_args                                  where the images are, for the same viewers
exposures.json                            gain and offset per frame and channel
point_cloud/iteration_N/point_cloud.ply   the Gaussians
history.json                              loss, PSNR, number of Gaussians and seconds during the run
checkpoint.pt                             the state of the run, for `--resume`
painted_masks/                            motion masks with what was painted during the run, if anything was

Of models that other programs trained, cameras.json and the Gaussians are enough.
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
from scene.formats import splat_ply
from scene.formats.sibr import check_cameras, is_list_of_cameras, read_sibr_cameras, write_cfg_args
from scene.gaussians import Gaussians
from scene.local_frame import frame_of_views
from scene.model_place import folder_of_model
from scene.similarity import Similarity
from scene.splats import Splats

#: of models that do not say how fast their clip is
_FRAME_RATE = 30.0

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
    for name in ("exposures.json", "history.json", "cfg_args"):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("renders/*/render.json"):
        shutil.rmtree(path.parent, ignore_errors=True)


def load_model(folder: Path, iteration: int | None = None) -> Model:
    """The Gaussians that settings.json in `folder` names, or those of an `iteration`. Raises `InputError` if a file is
    missing or damaged, and for a run that has not finished."""
    folder = folder_of_model(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of an optimized model (train_gui.py -m).")
    cameras_path = folder / "cameras.json"
    if not (folder / "settings.json").exists():
        if not is_list_of_cameras(cameras_path) or not (folder / "point_cloud").is_dir():
            raise InputError(f"{folder} has no settings.json; give the folder of an optimized model (train_gui.py -m).")
        cameras = read_sibr_cameras(cameras_path)
        splats = _splats(folder, {}, iteration)
        gaussians = splats.gaussians(frame_of_views(cameras, splats.means))
        return Model(gaussians, cameras, _unit_exposures(len(cameras)), _FRAME_RATE, {})
    description = read_json(folder / "settings.json")
    frames = description.get("frames")
    size = description.get("width"), description.get("height")
    if not isinstance(frames, list) or not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"{folder / 'settings.json'} is damaged: the names or the size of the frames are missing.")
    width, height = (int(side) for side in size if side is not None)
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{folder / 'settings.json'} is damaged: frames of {width:.6g}x{height:.6g} pixels.")
    splats = _splats(folder, description, iteration)
    names = [str(name) for name in frames]
    if is_list_of_cameras(cameras_path):
        cameras = read_sibr_cameras(cameras_path)
        check_cameras(cameras_path, cameras, len(names), width, height)
    else:  # of earlier versions
        cameras = read_cameras(cameras_path, names, width, height)
    values = read_json(folder / "exposures.json").get("exposures") if (folder / "exposures.json").exists() else None
    exposures = _unit_exposures(len(cameras))
    if values is not None:
        try:
            exposures = np.asarray(values, np.float64).reshape(len(cameras), 3, 2).astype(np.float32)
            damaged = not np.isfinite(exposures).all()
        except (TypeError, ValueError, OverflowError):
            damaged = True
        if damaged:
            raise InputError(f"{folder / 'exposures.json'} is damaged or of another clip; train again.")
    frame = _local_frame(description) or frame_of_views(cameras, splats.means)
    rate = description.get("frame_rate")
    frame_rate = float(rate) if isinstance(rate, int | float) and 0.1 < rate < 1000 else _FRAME_RATE
    return Model(splats.gaussians(frame), cameras, exposures, frame_rate, description)


def write_viewer_files(folder: Path, source: str | Path) -> None:
    """Writes cfg_args beside the model in `folder`, for viewers of 3DGS; `source` is the folder of its scene."""
    degree = _splats(folder, read_json(folder / "settings.json"), None).sh_degree
    write_cfg_args(folder / "cfg_args", folder, source, sh_degree=degree)


def _splats(folder: Path, description: dict[str, Any], iteration: int | None) -> Splats:
    """The Gaussians of the model, or of an iteration."""
    there = _iterations(folder)
    if iteration is None:
        iteration = _newest(folder, description, there)
    elif iteration not in there:
        words = ", ".join(map(str, there)) or "none"
        raise InputError(f"{folder} has no Gaussians of iteration {iteration}; there are those of: {words}.")
    return splat_ply.read(point_cloud_path(folder, iteration))


def _iterations(folder: Path) -> list[int]:
    """The iterations of which there are Gaussians, ascending."""
    found = [path.parent.name.removeprefix("iteration_") for path in folder.glob("point_cloud/iteration_*/*.ply")]
    return sorted(int(name) for name in found if name.isascii() and name.isdecimal() and len(name) < 10)


def _newest(folder: Path, description: dict[str, Any], iterations: list[int]) -> int:
    """The iteration whose Gaussians are the model's."""
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
    if len(iterations) > 1 and description:  # of an earlier version
        raise InputError(
            f"{folder} holds Gaussians of {len(iterations)} iterations, and settings.json does not say which are those "
            "of its cameras; train again with --overwrite."
        )
    return iterations[-1]


def _local_frame(description: dict[str, Any]) -> Similarity | None:
    """world_from_local of the run, as settings.json has it; None where it has none."""
    values = description.get("world_from_local")
    if not isinstance(values, dict):
        return None
    try:
        scale = float(values["scale"])
        translation = np.array(values["translation"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    sensible = translation.shape == (3,) and np.isfinite(translation).all() and np.isfinite(scale) and scale > 0
    return Similarity(scale, np.eye(3), translation) if sensible else None


def _unit_exposures(count: int) -> np.ndarray:
    return np.tile(np.array([1.0, 0.0], np.float32), (count, 3, 1))

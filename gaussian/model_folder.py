"""The folder of an optimized model: what `train` writes and `render.py` reads.

settings.json                                   settings, frame names and size, where the scene was, test frames
cameras.json                                    refined cameras, as in a scene folder
exposures.json                                  gain and offset per frame and channel
point_cloud/iteration_N/point_cloud.ply         the Gaussians
history.json                                    loss, PSNR, counts and seconds during the run
checkpoint.pt                                   everything that `--resume` needs
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.folder import read_cameras
from scene.formats.splat_ply import load_ply, save_ply
from scene.gaussians import Gaussians


@dataclass
class Model:
    """Gaussians with the cameras they were optimized for."""

    gaussians: Gaussians
    cameras: list[Camera]
    #: (frames, 3, 2) gain and offset
    exposures: np.ndarray
    #: frames per second of the clip
    frame_rate: float
    #: everything else in settings.json
    description: dict[str, Any]


def write_json(path: Path, value: Any) -> None:
    """JSON, whole or not at all; numbers that are not finite become null."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `InputError` when there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the folder of an optimized model.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        raise InputError(f"{path} is damaged: it is not JSON.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: it should hold a JSON object.")
    return value


def save_cameras(path: Path, names: Sequence[str], cameras: Sequence[Camera]) -> None:
    """cameras.json, in the form that scene folders have."""
    frames = [
        {
            "file": name,
            "width": camera.width,
            "height": camera.height,
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
            "world_from_camera": camera.world_from_camera.tolist(),
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    write_json(path, {"frames": frames})


def point_cloud_path(folder: Path, iteration: int) -> Path:
    """Where the Gaussians of an iteration lie."""
    return folder / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"


def save_gaussians(folder: Path, iteration: int, gaussians: Gaussians) -> None:
    """The PLY of one iteration."""
    save_ply(point_cloud_path(folder, iteration), gaussians)


def load_model(folder: Path) -> Model:
    """The model in `folder` with its latest Gaussians; raises `InputError` when something is missing or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of an optimized model (train_gui.py -m).")
    description = read_json(folder / "settings.json")
    frames = description.get("frames")
    size = description.get("width"), description.get("height")
    if not isinstance(frames, list) or not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(f"{folder / 'settings.json'} is damaged: it does not say which frames the model is of.")
    width, height = size
    cameras = read_cameras(folder / "cameras.json", [str(name) for name in frames], int(width), int(height))  # type: ignore[arg-type]
    values = read_json(folder / "exposures.json").get("exposures") if (folder / "exposures.json").exists() else None
    exposures = np.tile(np.array([1.0, 0.0], np.float32), (len(cameras), 3, 1))
    if values is not None:
        try:
            exposures = np.asarray(values, np.float32).reshape(len(cameras), 3, 2)
        except (TypeError, ValueError):
            raise InputError(f"{folder / 'exposures.json'} is damaged or of another clip.") from None
    iterations = [
        int(path.parent.name.removeprefix("iteration_"))
        for path in folder.glob("point_cloud/iteration_*/point_cloud.ply")
        if path.parent.name.removeprefix("iteration_").isdigit()
    ]
    if not iterations:
        raise InputError(f"{folder} holds no point_cloud.ply yet; let train_gui.py finish first.")
    gaussians = load_ply(point_cloud_path(folder, max(iterations)))
    rate = description.get("frame_rate")
    frame_rate = float(rate) if isinstance(rate, int | float) and 0.1 < rate < 1000 else 30.0
    return Model(gaussians, cameras, exposures, frame_rate, description)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value

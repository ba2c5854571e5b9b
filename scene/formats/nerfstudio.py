"""nerfstudio: transforms.json with world_from_camera matrices in OpenGL axes (x right, y up, z backward).

Format: nerfstudio's documentation, "Data conventions". Intrinsics are given at the top level or per frame; the image
spans [0, W] x [0, H] pixels, as in `scene.camera`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scene.camera import Camera
from scene.errors import InputError
from scene.files.json_files import read_json, write_json
from scene.files.text import finite_array
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.frame_files import store_frames
from scene.progress import Progress
from scene.rotations import is_rigid

#: converts between OpenCV's and OpenGL's camera axes, in both directions
_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")


@dataclass
class NerfstudioModel:
    """Cameras and the paths of their images, relative to the folder of transforms.json."""

    cameras: list[Camera]
    file_paths: list[str]


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes transforms.json and the frames as images/00000.png, ..., unless the frames are there already."""
    names = store_frames(source.frames, folder / "images", progress=progress)
    write_nerfstudio(
        folder / "transforms.json", NerfstudioModel(list(source.cameras), [f"images/{name}" for name in names])
    )


def write_nerfstudio(path: str | Path, model: NerfstudioModel) -> None:
    """Writes a transforms.json, whole or not at all; intrinsics are at the top level when all cameras share them."""
    intrinsics = [_intrinsics_entry(camera) for camera in model.cameras]
    shared = bool(intrinsics) and all(entry == intrinsics[0] for entry in intrinsics)
    frames = []
    for index, camera in enumerate(model.cameras):
        frame: dict[str, Any] = {"file_path": model.file_paths[index]}
        if not shared:
            frame.update(intrinsics[index])
        frame["transform_matrix"] = (camera.world_from_camera @ _FLIP_YZ).tolist()
        frames.append(frame)
    write_json(path, {"camera_model": "PINHOLE", **(intrinsics[0] if shared else {}), "frames": frames})


def read_nerfstudio(path: str | Path) -> NerfstudioModel:
    """Reads a transforms.json, given by its path or its folder.

    Missing values are replaced: the focal length by `camera_angle_x`, `w` and `h` by the size of the image file, `cx`
    and `cy` by its middle. Raises `InputError` for damaged files and for lens distortion.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "transforms.json"
    content = read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f'{path} has no list of "frames"; give a transforms.json of nerfstudio.')
    cameras, file_paths = [], []
    for index, frame in enumerate(frames):
        file_path = frame.get("file_path")
        if not isinstance(file_path, str):
            raise InputError(f"{path}: frame {index} has no file_path.")
        cameras.append(_camera(path, file_path, {**content, **frame}))
        file_paths.append(file_path)
    return NerfstudioModel(cameras, file_paths)


def _intrinsics_entry(camera: Camera) -> dict[str, float]:
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(camera.fx),
        "fl_y": float(camera.fy),
        "cx": float(camera.cx),
        "cy": float(camera.cy),
    }


def _camera(path: Path, file_path: str, values: dict[str, Any]) -> Camera:
    for key in _DISTORTION:
        if values.get(key):
            raise InputError(f"{path}: {file_path} has lens distortion ({key}); undistort the images first.")
    matrix = finite_array(values.get("transform_matrix"), (4, 4), f"transform_matrix of {file_path}", path)
    if not is_rigid(matrix):
        raise InputError(f"{path}: transform_matrix of {file_path} is not a rigid motion.")
    width, height = values.get("w"), values.get("h")
    if width is None or height is None:
        width, height = _image_size(path, file_path)
    width, height = (int(x) for x in finite_array([width, height], (2,), f"the size of {file_path}", path))
    if not (0 < width < 1 << 20 and 0 < height < 1 << 20):
        raise InputError(f"{path}: {file_path} is {width}x{height} pixels, which is not a possible size.")
    fx, angle = values.get("fl_x"), values.get("camera_angle_x")
    if fx is None and isinstance(angle, int | float) and 0 < angle < math.pi:
        fx = width / 2.0 / math.tan(angle / 2.0)
    fy = values.get("fl_y", fx)
    intrinsics = [fx, fy, values.get("cx", width / 2.0), values.get("cy", height / 2.0)]
    fx, fy, cx, cy = finite_array(intrinsics, (4,), f"the intrinsics of {file_path}", path).tolist()
    if fx <= 0 or fy <= 0:
        raise InputError(f"{path}: the focal length of {file_path} is not positive.")
    return Camera(width, height, fx, fy, cx, cy, matrix @ _FLIP_YZ)


def _image_size(path: Path, file_path: str) -> tuple[int, int]:
    for candidate in (path.parent / file_path, path.parent / f"{file_path}.png"):
        try:
            with Image.open(candidate) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    raise InputError(f"{path} gives no size for {file_path}, and that image cannot be read.")

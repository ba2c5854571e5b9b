"""nerfstudio: transforms.json with world_from_camera matrices in OpenGL axes (x right, y up, z backward).

Format: nerfstudio's documentation, "Data conventions". Intrinsics are given at the top level or per frame; the image
spans [0, W] x [0, H] pixels, as in `scene.camera`.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json, write_json
from scene.files.text import finite_array
from scene.formats import ply
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.frame_files import store_frames
from scene.images import write_png
from scene.observed import is_observed
from scene.progress import Progress
from scene.rotations import is_rigid

#: converts between OpenCV's and OpenGL's camera axes, in both directions
_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
#: pixels whose motion mask is above this move
_MOVES = 0.5
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")


@dataclass
class NerfstudioModel:
    """Cameras and the paths of files, relative to the folder of transforms.json."""

    cameras: list[Camera]
    #: images of the cameras
    file_paths: list[str]
    #: masks of the images, black where something moves; empty: none
    mask_paths: list[str] = field(default_factory=list)
    #: point cloud in world coordinates, from which Gaussians are initialized
    ply_file_path: str | None = None


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes transforms.json and the frames as images/00000.png, ..., unless the frames are there already. Where there
    are motion masks or pixels that were not observed, masks/ is black there; where there are points, points.ply has
    them."""
    names = store_frames(source.frames, folder / "images", progress=progress)
    model = NerfstudioModel(list(source.cameras), [f"images/{name}" for name in names])
    if source.motion_masks is not None or source.observed is not None:
        with atomic_folder(folder / "masks", overwrite=True) as temporary:
            for index in range(len(names)):
                used = np.ones((source.frames.height, source.frames.width), bool)
                if source.motion_masks is not None:
                    used &= ~(np.nan_to_num(source.motion_masks[index]) > _MOVES)
                if source.observed is not None:
                    used &= is_observed(source.observed, index)
                write_png(temporary / f"{index:05d}.png", used * np.uint8(255))
        model.mask_paths = [f"masks/{index:05d}.png" for index in range(len(names))]
    if "points" in source.available():
        ply.export(source, folder, options, progress)
        model.ply_file_path = "points.ply"
    write_nerfstudio(folder / "transforms.json", model)


def write_nerfstudio(path: str | Path, model: NerfstudioModel) -> None:
    """Writes a transforms.json, whole or not at all; intrinsics are at the top level when all cameras share them."""
    intrinsics = [_intrinsics_entry(camera) for camera in model.cameras]
    shared = bool(intrinsics) and all(entry == intrinsics[0] for entry in intrinsics)
    frames = []
    for index, camera in enumerate(model.cameras):
        frame: dict[str, Any] = {"file_path": model.file_paths[index]}
        if model.mask_paths:
            frame["mask_path"] = model.mask_paths[index]
        if not shared:
            frame.update(intrinsics[index])
        frame["transform_matrix"] = (camera.world_from_camera @ _FLIP_YZ).tolist()
        frames.append(frame)
    content = {"camera_model": "PINHOLE", **(intrinsics[0] if shared else {})}
    if model.ply_file_path is not None:
        content["ply_file_path"] = model.ply_file_path
    write_json(path, {**content, "frames": frames})


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
    cameras, file_paths, mask_paths = [], [], []
    for index, frame in enumerate(frames):
        file_path = frame.get("file_path")
        if not isinstance(file_path, str):
            raise InputError(f"{path}: frame {index} has no file_path.")
        cameras.append(_camera(path, file_path, {**content, **frame}))
        file_paths.append(file_path)
        if isinstance(frame.get("mask_path"), str):
            mask_paths.append(frame["mask_path"])
    if mask_paths and len(mask_paths) != len(frames):
        raise InputError(f"{path} gives a mask_path for {len(mask_paths)} of {len(frames)} frames; give all or none.")
    points = content.get("ply_file_path")
    return NerfstudioModel(cameras, file_paths, mask_paths, points if isinstance(points, str) else None)


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

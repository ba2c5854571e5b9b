"""nerfstudio: transforms.json with world_from_camera matrices in OpenGL axes (x right, y up, z backward).

Format: nerfstudio's documentation, "Data conventions". Intrinsics are given at the top level or per frame; the image
spans [0, W] x [0, H] pixels, as in `scene.camera`.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json, write_json
from scene.files.text import finite_array
from scene.formats import ply
from scene.formats.checked_camera import LARGEST_COORDINATE, checked_intrinsics, checked_pose, checked_size
from scene.formats.exportable import Exportable
from scene.formats.lens_models import lens_of_nerfstudio, nerfstudio_of_lens
from scene.formats.options import ExportOptions
from scene.frame_files import store_frames
from scene.frames import Frames
from scene.images import read_image, write_png
from scene.lens import Lens
from scene.media.image_header import read_header
from scene.observed import is_observed
from scene.progress import Progress
from scene.undistortion import Undistortion, lens_of_camera

#: converts between OpenCV's and OpenGL's camera axes, in both directions
_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
#: pixels whose motion mask is above this move
_MOVES = 0.5


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
    #: depth maps of the images, and what their integers are to be multiplied by; empty: none
    depth_paths: list[str] = field(default_factory=list)
    depth_unit: float = 1e-3
    #: the lenses of the images; the cameras that were read have their intrinsics and not their distortion
    lenses: list[Lens] = field(default_factory=list)


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes transforms.json and the frames as images/00000.png, ... or, of a project, under the names that it gives
    them, unless they are there already. Where there are motion masks or pixels that were not observed, masks/ is black
    there; where there are points, points.ply has them."""
    names = store_frames(source.frames, folder / "images", names=source.image_names, progress=progress)
    model = NerfstudioModel(list(source.cameras), [f"images/{name}" for name in names])
    if source.motion_masks is not None or source.observed is not None:
        with atomic_folder(folder / "masks", overwrite=True) as temporary:
            for index in range(len(names)):
                used = np.ones((source.frames.height, source.frames.width), bool)
                if source.motion_masks is not None:
                    used &= ~(np.nan_to_num(source.motion_masks[index]) > _MOVES)
                if source.observed is not None:
                    used &= is_observed(source.observed, index)
                (temporary / names[index]).parent.mkdir(parents=True, exist_ok=True)
                write_png(temporary / names[index], used * np.uint8(255))
        model.mask_paths = [f"masks/{name}" for name in names]
    if "points" in source.available():
        ply.export(source, folder, options, progress)
        model.ply_file_path = "points.ply"
    write_nerfstudio(folder / "transforms.json", model)
    if source.lens is not None and source.input_frames is not None:
        _export_distorted(source, source.lens, source.input_frames, folder, model, progress)


def _export_distorted(
    source: Exportable, lens: Lens, frames: Frames, folder: Path, model: NerfstudioModel, progress: Progress
) -> None:
    """Writes transforms_distorted.json and the frames as the lens has seen them, with masks that are also black where
    the undistorted frames do not reach."""
    names = store_frames(frames, folder / "images_distorted", progress=progress)
    undistortion = Undistortion.of(lens, centered=True)
    lenses = [lens_of_camera(undistortion, camera) for camera in source.cameras]
    distorted = NerfstudioModel(model.cameras, [f"images_distorted/{name}" for name in names], lenses=lenses)
    if model.mask_paths:
        with atomic_folder(folder / "masks_distorted", overwrite=True) as temporary:
            for name, path in zip(names, model.mask_paths, strict=True):
                used = read_image(folder / path)[..., 0]
                write_png(temporary / name, undistortion.distorted_mask(used))
        distorted.mask_paths = [f"masks_distorted/{name}" for name in names]
    distorted.ply_file_path = model.ply_file_path
    write_nerfstudio(folder / "transforms_distorted.json", distorted)


def write_nerfstudio(path: str | Path, model: NerfstudioModel) -> None:
    """Writes a transforms.json, whole or not at all; intrinsics are at the top level when all cameras share them. Where
    lenses of the model distort, which are of one family, they are written in place of the cameras' intrinsics."""
    distorts = any(not lens.is_pinhole for lens in model.lenses)
    if distorts:
        intrinsics = [nerfstudio_of_lens(lens) for lens in model.lenses]
    else:
        intrinsics = [{"camera_model": "PINHOLE", **_intrinsics_entry(camera)} for camera in model.cameras]
    models = {str(entry["camera_model"]) for entry in intrinsics} or {"PINHOLE"}
    shared = bool(intrinsics) and all(entry == intrinsics[0] for entry in intrinsics)
    frames = []
    for index, camera in enumerate(model.cameras):
        frame: dict[str, Any] = {"file_path": model.file_paths[index]}
        if model.mask_paths:
            frame["mask_path"] = model.mask_paths[index]
        if not shared:
            frame.update({key: value for key, value in intrinsics[index].items() if key != "camera_model"})
        frame["transform_matrix"] = (camera.world_from_camera @ _FLIP_YZ).tolist()
        frames.append(frame)
    content = {"camera_model": models.pop(), **(intrinsics[0] if shared else {})}
    if model.ply_file_path is not None:
        content["ply_file_path"] = model.ply_file_path
    write_json(path, {**content, "frames": frames})


def read_nerfstudio(path: str | Path, *, distorted: bool = False) -> NerfstudioModel:
    """Reads a transforms.json, given by its path or its folder.

    Missing values are replaced: the focal lengths by `camera_angle_x` and `camera_angle_y`, one of them by the other,
    `w` and `h` by the size of the image file, `cx` and `cy` by its middle. Raises `InputError` for damaged files, for
    cameras that are no lenses, and for lens distortion unless `distorted` is set.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "transforms.json"
    content = read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f'{path} has no list of "frames"; give a transforms.json of nerfstudio.')
    cameras, lenses, file_paths, mask_paths, depth_paths = [], [], [], [], []
    for index, frame in enumerate(frames):
        file_path = frame.get("file_path")
        if not isinstance(file_path, str):
            raise InputError(f"{path}: frame {index} has no file_path.")
        camera, lens = _camera(path, file_path, {**content, **frame})
        if not (distorted or lens.is_pinhole):
            what = "is from a fisheye lens" if lens.family == "equidistant" else "has lens distortion"
            raise InputError(f"{path}: {file_path} {what}; undistort the images first.")
        cameras.append(camera)
        lenses.append(lens)
        file_paths.append(file_path)
        for key, found in (("mask_path", mask_paths), ("depth_file_path", depth_paths)):
            if isinstance(frame.get(key), str):
                found.append(frame[key])
    for key, found in (("mask_path", mask_paths), ("depth_file_path", depth_paths)):
        if found and len(found) != len(frames):
            raise InputError(f"{path} gives a {key} for {len(found)} of {len(frames)} frames; give all or none.")
    unit = content.get("depth_unit_scale_factor", NerfstudioModel.depth_unit)
    if not 0 < finite_array([unit], (1,), "depth_unit_scale_factor", path)[0] < LARGEST_COORDINATE:
        raise InputError(f"{path}: depth_unit_scale_factor is not positive.")
    points = content.get("ply_file_path")
    points = points if isinstance(points, str) else None
    return NerfstudioModel(cameras, file_paths, mask_paths, points, depth_paths, float(unit), lenses)


def _intrinsics_entry(camera: Camera) -> dict[str, float]:
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(camera.fx),
        "fl_y": float(camera.fy),
        "cx": float(camera.cx),
        "cy": float(camera.cy),
    }


def _camera(path: Path, file_path: str, values: dict[str, Any]) -> tuple[Camera, Lens]:
    matrix = values.get("transform_matrix")
    if isinstance(matrix, list) and len(matrix) == 3:
        matrix = [*matrix, [0.0, 0.0, 0.0, 1.0]]
    pose = checked_pose(matrix, "transform_matrix", file_path, path)
    width, height = values.get("w"), values.get("h")
    if width is None or height is None:
        width, height = _image_size(path, file_path)
    width, height = checked_size([width, height], file_path, path)
    fx = _focal_length(values, "fl_x", "camera_angle_x", width)
    fy = _focal_length(values, "fl_y", "camera_angle_y", height)
    fx, fy = (fy if fx is None else fx), (fx if fy is None else fy)
    intrinsics = [fx, fy, values.get("cx", width / 2.0), values.get("cy", height / 2.0)]
    fx, fy, cx, cy = checked_intrinsics(intrinsics, file_path, path)
    try:
        lens = lens_of_nerfstudio(values, width, height, (fx, fy, cx, cy))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: {file_path}: {str(error).rstrip('.')}.") from None
    return Camera(width, height, fx, fy, cx, cy, pose @ _FLIP_YZ), lens


def _focal_length(values: dict[str, Any], key: str, angle_key: str, side: int) -> Any:
    """The focal length under `key`, or that of the angle of view under `angle_key` over `side` pixels; else None."""
    angle = values.get(angle_key)
    if values.get(key) is None and isinstance(angle, int | float) and 0 < angle < math.pi:
        return side / 2.0 / math.tan(angle / 2.0)
    return values.get(key)


def _image_size(path: Path, file_path: str) -> tuple[int, int]:
    for candidate in (path.parent / file_path, path.parent / f"{file_path}.png"):
        try:
            header = read_header(candidate)
            return header.width, header.height
        except InputError:
            continue
    raise InputError(f"{path} gives no size for {file_path}, and that image cannot be read.")

"""Image, depth and camera of one frame of a training set, by the conventions of its row."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.depth_files import read_depth_array, read_depth_image
from dynamic_predictor.training.datasets.array_formats import read_exr
from dynamic_predictor.training.datasets.spec import CameraFiles, DepthFiles, TrainingSetSpec
from scene.errors import InputError
from scene.files.arrays import read_entries
from scene.images import read_image
from scene.media.image_header import stored_gray
from scene.rotations import is_rigid

#: masks are set from here on
_MASKED = 127
_OBJECT = 26
_SWAP = np.eye(4)[[1, 0, 2, 3]]
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Frame:
    """One view: `image` uint8 (H, W, 3); `z_depth` float32 (H, W), 0 = unknown, -1 = sky; `intrinsics` (3, 3), pixel
    centers at +0.5; `world_from_camera` (4, 4)."""

    image: np.ndarray
    z_depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray


@dataclass(frozen=True)
class FrameFiles:
    """Where the files of a frame are: the folder of its scene and what templates stand for."""

    folder: Path
    run: str
    frame: str

    def path(self, template: str) -> Path:
        return self.folder / template.format(run=self.run, frame=self.frame)


def read_frame(
    spec: TrainingSetSpec,
    files: FrameFiles,
    *,
    stored_camera: tuple[np.ndarray, np.ndarray] | None = None,
    scale: float = 1.0,
    only_object: bool = False,
) -> Frame:
    """Reads a frame. `stored_camera`: pose and intrinsics as stored in the scene's metadata, for sets that have no file
    per camera; `scale`: of the scene, see `CameraFiles.scales`. Raises `InputError` for what is missing or wrong."""
    image = read_image(files.path(spec.image))
    entries: dict[str, np.ndarray] = {}
    where = files.path(spec.cameras.path) if spec.cameras.path else files.folder
    if stored_camera is None:
        entries = read_entries(where, _camera_entries(spec))
        pose = _stored_pose(spec.cameras, entries)
        stored_camera = pose, entries[spec.cameras.intrinsics]
    world_from_camera = _world_from_camera(spec.cameras, stored_camera[0], where)
    world_from_camera[:3, 3] *= scale
    intrinsics = intrinsics_of(spec.cameras, stored_camera[1], where)
    height, width = image.shape[:2]
    if not (0 < intrinsics[0, 2] < width and 0 < intrinsics[1, 2] < height):
        raise InputError(f"{where} has a principal point outside of its image of {width}x{height}; prepare it again.")
    z_depth = np.zeros((height, width), np.float32)
    if spec.depth is not None:
        largest = float(entries[spec.depth.largest_entry]) if spec.depth.largest_entry else 1.0
        z_depth = _read_depth(spec.depth, files, largest, scale, only_object=only_object)
        if z_depth.shape != (height, width):
            raise InputError(f"{files.path(spec.image)} and its depth differ in size; prepare the set again.")
    return Frame(image, z_depth, intrinsics, world_from_camera)


def intrinsics_of(cameras: CameraFiles, stored: np.ndarray, where: Path) -> np.ndarray:
    """The matrix (3, 3), with pixel centers at +0.5, for stored intrinsics."""
    values = np.asarray(stored, np.float64)
    shape = (6,) if cameras.form == "pinhole" else (3, 3)
    if values.shape != shape or not np.isfinite(values).all():
        raise InputError(f"{where} has intrinsics of shape {values.shape} where {shape} was expected.")
    if cameras.form == "pinhole":
        focal, principal = values[2:4], values[4:6]
    elif cameras.form == "colmap_radial":
        focal, principal = np.repeat(values[0, 0], 2), np.array([values[1, 1], values[0, 2]])
    else:
        focal, principal = values[[0, 1], [0, 1]], values[:2, 2]
    if not (focal > 0).all():
        raise InputError(f"{where} has a focal length that is not positive; prepare the set again.")
    matrix = np.diag([*focal, 1.0])
    matrix[:2, 2] = principal + 0.5
    return matrix


def _camera_entries(spec: TrainingSetSpec) -> list[str]:
    pose = spec.cameras.pose
    names = [spec.cameras.intrinsics, *([pose] if isinstance(pose, str) else pose)]
    if spec.depth is not None:
        names.append(spec.depth.largest_entry)
    return [name for name in names if name]


def _stored_pose(cameras: CameraFiles, entries: dict[str, np.ndarray]) -> np.ndarray:
    if not cameras.pose:
        return np.eye(4)
    if isinstance(cameras.pose, str):
        return entries[cameras.pose]
    rotation, translation = (entries[name] for name in cameras.pose)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation.reshape(3)
    return matrix


def _world_from_camera(cameras: CameraFiles, stored: np.ndarray, where: Path) -> np.ndarray:
    matrix = np.asarray(stored, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{where} has no finite pose of 4x4 numbers; prepare the set again or remove the frame.")
    if cameras.convention == "camera_from_world":
        matrix = np.linalg.inv(matrix)
    if cameras.swapped_world:
        matrix = _SWAP @ matrix
    if cameras.axes == "opengl":
        matrix = matrix @ _FLIP
    if not is_rigid(matrix):
        raise InputError(f"{where} has a pose that is not a rotation and a translation; prepare the set again.")
    return matrix.copy()


def _read_depth(
    depth: DepthFiles, files: FrameFiles, largest_stored: float, scale: float, *, only_object: bool
) -> np.ndarray:
    path = files.path(depth.path)
    values = _read_stored(path)
    factor = scale / depth.divisor
    if depth.largest_entry:
        factor = (largest_stored if np.isfinite(largest_stored) else 0.0) / 65535
    infinite = depth.sky_from if np.isfinite(depth.sky_from) else 0.0
    values = np.nan_to_num(values * np.float32(factor), nan=0.0, posinf=infinite, neginf=0.0)
    values[values < 0] = 0
    values[values > depth.largest] = 0
    values[values >= depth.sky_from] = -1
    if depth.sky_mask:
        values[read_mask(files.path(depth.sky_mask), values.shape) >= _MASKED] = -1
    if depth.outlier_mask:
        values[read_mask(files.path(depth.outlier_mask), values.shape) >= _MASKED] = 0
    if depth.object_mask and only_object:
        values[read_mask(files.path(depth.object_mask), values.shape) < _OBJECT] = 0
    known = values[values > 0]
    if depth.quantile is not None and len(known):
        values[values > np.quantile(known, depth.quantile)] = 0
    return values


def _read_stored(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return read_depth_array(path)
    if path.suffix == ".exr":
        return read_exr(path)
    return read_depth_image(path, 1.0)


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A gray image of the given shape (H, W), uint8."""
    values = stored_gray(path)
    if values.shape != shape:
        raise InputError(f"{path} is not a mask of {shape[1]}x{shape[0]} pixels; get the data set again.")
    return values

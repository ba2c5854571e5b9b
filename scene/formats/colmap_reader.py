"""Reads COLMAP models with the camera models SIMPLE_PINHOLE and PINHOLE (see `scene.formats.colmap`).

pycolmap does not do this because its messages for damaged files do not name the file or the fault.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.text import check_file, read_text
from scene.rotations import affine_matrix, rotation_from_quaternion
from scene.scene import PointCloud

#: ids of the pinhole cameras with the number of their parameters, and the names of these ids
_PARAMETER_COUNTS = {0: 3, 1: 4}
_MODEL_IDS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1}
_NO_POINT = 2**64 - 1
_MAX_FILE_BYTES = 16 << 30


@dataclass
class ColmapModel:
    """Cameras and names of the images, in the order of the image ids, and the points.

    `observations[i]` is (pixels (K, 2) float64, point indices (K,) int64, -1 = no point) of image i.
    """

    names: list[str]
    cameras: list[Camera]
    points: PointCloud
    observations: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


def read_colmap(folder: str | Path) -> ColmapModel:
    """Reads the model in `folder`: the .bin files when all three exist, else the .txt files.

    Memory is proportional to the size of the files, whatever counts they contain. Raises `InputError` for files that
    are missing, cut off or inconsistent, and for camera models with distortion.
    """
    folder = Path(folder)
    for suffix in (".bin", ".txt"):
        paths = [folder / f"{stem}{suffix}" for stem in ("cameras", "images", "points3D")]
        if all(path.is_file() for path in paths):
            cameras_path, images_path, points_path = paths
            for path in paths:
                check_file(path, _MAX_FILE_BYTES)
            if suffix == ".bin":
                parsed = _read_cameras_bin(cameras_path), _read_images_bin(images_path), _read_points_bin(points_path)
            else:
                parsed = _read_cameras_txt(cameras_path), _read_images_txt(images_path), _read_points_txt(points_path)
            if not (np.abs(parsed[2][1]) <= np.finfo(np.float32).max).all():
                raise InputError(f"{points_path} has a point whose position is not finite.")
            return _assemble(images_path, *parsed)
    raise InputError(f"{folder} holds no COLMAP model; it needs cameras, images and points3D, all .bin or all .txt.")


_Intrinsics = tuple[int, int, float, float, float, float]


@dataclass
class _Image:
    identifier: int
    pose: np.ndarray  # qw qx qy qz tx ty tz
    camera_id: int
    name: str
    pixels: np.ndarray
    point_ids: np.ndarray


def _assemble(
    path: Path,
    intrinsics: dict[int, _Intrinsics],
    images: list[_Image],
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> ColmapModel:
    ids, positions, colors = points
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    names, cameras, observations = [], [], []
    for image in sorted(images, key=lambda image: image.identifier):
        if image.camera_id not in intrinsics:
            raise InputError(f"{path}: image {image.name} has camera {image.camera_id}, which is not in the model.")
        if not np.isfinite(image.pose).all() or abs(np.linalg.norm(image.pose[:4]) - 1.0) > 0.05:
            raise InputError(f"{path}: the pose of image {image.name} is not a finite rigid motion.")
        rotation = rotation_from_quaternion(image.pose[:4]).T
        names.append(image.name)
        cameras.append(Camera(*intrinsics[image.camera_id], affine_matrix(rotation, -rotation @ image.pose[4:])))
        if len(sorted_ids):
            place = np.minimum(np.searchsorted(sorted_ids, image.point_ids), len(sorted_ids) - 1)
            indices = np.where(sorted_ids[place] == image.point_ids, order[place], -1)
        else:
            indices = np.full(len(image.point_ids), -1, np.int64)
        observations.append((image.pixels, indices))
    return ColmapModel(names, cameras, PointCloud(positions.astype(np.float32), colors), observations)


def _checked_intrinsics(path: Path, camera_id: int, width: int, height: int, parameters: list[float]) -> _Intrinsics:
    fx, fy, cx, cy = [parameters[0], *parameters] if len(parameters) == 3 else parameters
    if not (0 < width < 1 << 20 and 0 < height < 1 << 20):
        raise InputError(f"{path}: camera {camera_id} is {width}x{height} pixels, which is not a possible size.")
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise InputError(f"{path}: camera {camera_id} has intrinsics that are not finite and positive.")
    return width, height, fx, fy, cx, cy


class _Bytes:
    """Reads a binary file piece by piece. Raises `InputError`, before memory is allocated, for a read past its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._position = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._position:
            raise InputError(f"{self.path} ends too early; it is cut off or damaged.")
        self._position += count
        return self._data[self._position - count : self._position].tobytes()

    def unpack(self, layout: str) -> tuple:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def count(self, smallest: int) -> int:
        """A 64-bit count of records that take at least `smallest` bytes each."""
        (count,) = self.unpack("<Q")
        if count * smallest > len(self._data) - self._position:
            raise InputError(f"{self.path} declares {count} records but is too short for them; it is damaged.")
        return count

    def text(self) -> str:
        window = self._data[self._position : self._position + 4096]
        ends = np.flatnonzero(window == 0)
        if not len(ends):
            raise InputError(f"{self.path} has an image name without an end; it is damaged.")
        name = self.take(int(ends[0]) + 1)[:-1]
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{self.path} has an image name that is not text; it is damaged.") from None


def _read_cameras_bin(path: Path) -> dict[int, _Intrinsics]:
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.count(24 + 24)):
        camera_id, model, width, height = file.unpack("<iiQQ")
        if model not in _PARAMETER_COUNTS:
            raise _distorted(path, camera_id, f"model {model}")
        parameters = list(file.unpack(f"<{_PARAMETER_COUNTS[model]}d"))
        cameras[camera_id] = _checked_intrinsics(path, camera_id, width, height, parameters)
    return cameras


def _read_images_bin(path: Path) -> list[_Image]:
    file = _Bytes(path)
    images = []
    record = np.dtype([("pixel", "<f8", 2), ("point", "<u8")])
    for _ in range(file.count(64 + 1 + 8)):
        identifier, *pose, camera_id = file.unpack("<i7di")
        name = file.text()
        rows = np.frombuffer(file.take(file.count(record.itemsize) * record.itemsize), record)
        point_ids = np.where(rows["point"] == _NO_POINT, -1, rows["point"].astype(np.int64))
        images.append(_Image(identifier, np.array(pose), camera_id, name, rows["pixel"].astype(np.float64), point_ids))
    return images


def _read_points_bin(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    file = _Bytes(path)
    count = file.count(51)
    ids, positions, colors = np.empty(count, np.int64), np.empty((count, 3)), np.empty((count, 3), np.uint8)
    for index in range(count):
        identifier, x, y, z, red, green, blue, _ = file.unpack("<Q3d3Bd")
        if identifier >= 1 << 63:
            raise InputError(f"{path} has a point with an impossible id; it is damaged.")
        ids[index], positions[index], colors[index] = identifier, (x, y, z), (red, green, blue)
        file.take(file.count(8) * 8)
    return ids, positions, colors


def _distorted(path: Path, camera_id: int, model: str) -> InputError:
    return InputError(
        f"{path}: camera {camera_id} is a {model}, but only PINHOLE and SIMPLE_PINHOLE are read; undistort the images "
        "first (colmap image_undistorter)."
    )


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    lines = enumerate(read_text(path, _MAX_FILE_BYTES).split("\n"), start=1)
    return [(number, line.split()) for number, line in lines if not line.startswith("#")]


def _read_cameras_txt(path: Path) -> dict[int, _Intrinsics]:
    cameras = {}
    for number, words in _lines(path):
        if not words:
            continue
        try:
            camera_id, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            if model not in _MODEL_IDS:
                raise _distorted(path, camera_id, model)
            parameters = [float(word) for word in words[4:]]
            if len(parameters) != _PARAMETER_COUNTS[_MODEL_IDS[model]]:
                raise InputError(f"{path}: {model} has {len(parameters)} parameters in line {number}.")
        except (IndexError, ValueError) as error:
            raise _bad_line(path, number, error) from None
        cameras[camera_id] = _checked_intrinsics(path, camera_id, width, height, parameters)
    return cameras


def _read_images_txt(path: Path) -> list[_Image]:
    lines = _lines(path)
    while lines and not lines[0][1]:
        lines = lines[1:]
    images, lines_left = [], iter(lines)
    for number, words in lines_left:
        if not words:  # blank lines at the end
            continue
        _, observed = next(lines_left, (0, []))
        try:
            pose = np.array([float(word) for word in words[1:8]])
            identifier, camera_id, name = int(words[0]), int(words[8]), " ".join(words[9:])
            if len(observed) % 3:
                raise ValueError("points do not come in threes")
            values = np.array([float(word) for word in observed]).reshape(-1, 3)
            point_ids = np.array([int(word) for word in observed[2::3]], np.int64)
        except (IndexError, ValueError, OverflowError) as error:
            raise _bad_line(path, number, error) from None
        images.append(_Image(identifier, pose, camera_id, name, values[:, :2], point_ids))
    return images


def _read_points_txt(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids, positions, colors = [], [], []
    for number, words in _lines(path):
        if not words:
            continue
        try:
            ids.append(int(words[0]))
            positions.append([float(word) for word in words[1:4]])
            colors.append([int(word) for word in words[4:7]])
            if len(positions[-1]) != 3 or len(colors[-1]) != 3 or not all(0 <= c <= 255 for c in colors[-1]):
                raise ValueError("a point needs three coordinates and three colors from 0 to 255")
            if not 0 <= ids[-1] < 1 << 63:
                raise ValueError("impossible point id")
        except (IndexError, ValueError) as error:
            raise _bad_line(path, number, error) from None
    positions, colors = (np.array(values).reshape(-1, 3) for values in (positions, colors))
    return np.array(ids, np.int64), positions.astype(np.float64), colors.astype(np.uint8)


def _bad_line(path: Path, number: int, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{path} cannot be understood at line {number}; it is damaged or of another version.")

"""Reads COLMAP models (see `scene.formats.colmap`) with the camera models of `scene.formats.lens_models`.

pycolmap does not do this because its messages for damaged files do not name the file or the fault.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.text import check_file, read_text
from scene.formats.checked_camera import LARGEST_COORDINATE, checked_intrinsics, checked_size
from scene.formats.lens_models import COLMAP_MODELS, colmap_of_lens, lens_of_colmap
from scene.lens import Lens
from scene.rotations import affine_matrix, rotation_from_quaternion
from scene.scene import PointCloud

_MODEL_NAMES = {model.identifier: name for name, model in COLMAP_MODELS.items()}
_NO_POINT = 2**64 - 1
_MAX_FILE_BYTES = 16 << 30
#: place of the name among the words of an image in images.txt; it may have blanks
_NAME = 9


@dataclass
class ColmapModel:
    """Cameras and names of the images, in the order of the image ids, and the points with float64 positions.

    `observations[i]` is (pixels (K, 2) float64, point indices (K,) int64, -1 = no point) of image i, `lenses[i]` its
    lens. The camera of an image that is distorted has the lens's intrinsics and not its distortion.
    """

    names: list[str]
    cameras: list[Camera]
    points: PointCloud
    observations: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    lenses: list[Lens] = field(default_factory=list)


def holds_colmap(folder: Path) -> bool:
    """Whether `folder` has the cameras and images of a model."""
    return any(all((folder / f"{stem}{kind}").is_file() for stem in ("cameras", "images")) for kind in (".bin", ".txt"))


def read_colmap(folder: str | Path, *, distorted: bool = False, without_points: bool = False) -> ColmapModel:
    """Reads the model in `folder`: the .bin files when all three exist, else the .txt files.

    Memory is proportional to the size of the files, whatever counts they contain. Raises `InputError` for files that
    are missing, cut off or inconsistent, for camera models that are not known, and for distortion unless `distorted`
    is set. With `without_points`, the file of the points may be missing.
    """
    folder = Path(folder)
    for needed in (3, 2) if without_points else (3,):
        for suffix in (".bin", ".txt"):
            paths = [folder / f"{stem}{suffix}" for stem in ("cameras", "images", "points3D")]
            if all(path.is_file() for path in paths[:needed]):
                return _read(paths[:needed], is_binary=suffix == ".bin", distorted=distorted)
    raise InputError(f"{folder} holds no COLMAP model; it needs cameras, images and points3D, all .bin or all .txt.")


def _read(paths: list[Path], *, is_binary: bool, distorted: bool) -> ColmapModel:
    for path in paths:
        check_file(path, _MAX_FILE_BYTES)
    lenses = (_read_cameras_bin if is_binary else _read_cameras_txt)(paths[0])
    for camera_id, lens in lenses.items():
        if not (distorted or lens.is_pinhole):
            raise InputError(
                f"{paths[0]}: camera {camera_id} is a {colmap_of_lens(lens)[0]}, but only PINHOLE and SIMPLE_PINHOLE "
                "are read here; undistort the images first (colmap image_undistorter)."
            )
    images = (_read_images_bin if is_binary else _read_images_txt)(paths[1])
    points = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if len(paths) > 2:
        points = (_read_points_bin if is_binary else _read_points_txt)(paths[2])
        if not (np.abs(points[1]) <= LARGEST_COORDINATE).all():
            raise InputError(f"{paths[2]} has a point whose position is not finite.")
    return _assemble(paths[1], lenses, images, points)


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
    lenses: dict[int, Lens],
    images: list[_Image],
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> ColmapModel:
    ids, positions, colors = points
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    names, cameras, observations, chosen = [], [], [], []
    for image in sorted(images, key=lambda image: image.identifier):
        if image.camera_id not in lenses:
            raise InputError(f"{path}: image {image.name} has camera {image.camera_id}, which is not in the model.")
        # of infinities and NaN, the first comparison is false
        if not (np.abs(image.pose) <= LARGEST_COORDINATE).all() or abs(np.linalg.norm(image.pose[:4]) - 1.0) > 0.05:
            raise InputError(f"{path}: the pose of image {image.name} is not a finite rigid motion.")
        rotation = rotation_from_quaternion(image.pose[:4]).T
        names.append(image.name)
        lens = lenses[image.camera_id]
        pose = affine_matrix(rotation, -rotation @ image.pose[4:])
        cameras.append(Camera(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, pose))
        chosen.append(lens)
        if len(sorted_ids):
            place = np.minimum(np.searchsorted(sorted_ids, image.point_ids), len(sorted_ids) - 1)
            indices = np.where(sorted_ids[place] == image.point_ids, order[place], -1)
        else:
            indices = np.full(len(image.point_ids), -1, np.int64)
        observations.append((image.pixels, indices))
    return ColmapModel(names, cameras, PointCloud(positions, colors), observations, chosen)


def _lens(path: Path, camera_id: int, model: str, width: int, height: int, parameters: list[float]) -> Lens:
    of = f"camera {camera_id}"
    checked_size([width, height], of, path)
    focal_count = COLMAP_MODELS[model].focal_count
    focals = parameters[:focal_count]
    checked_intrinsics([focals[0], focals[-1], *parameters[focal_count : focal_count + 2]], of, path)
    try:
        return lens_of_colmap(model, width, height, parameters)
    except ValueError as error:
        raise InputError(f"{path}: {of}: {error}.") from None


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


def _read_cameras_bin(path: Path) -> dict[int, Lens]:
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.count(24 + 24)):
        camera_id, identifier, width, height = file.unpack("<iiQQ")
        model = _MODEL_NAMES.get(identifier)
        if model is None:
            raise _unknown(path, camera_id, f"model {identifier}")
        parameters = list(file.unpack(f"<{COLMAP_MODELS[model].parameter_count}d"))
        cameras[camera_id] = _lens(path, camera_id, model, width, height, parameters)
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


def _unknown(path: Path, camera_id: int, model: str) -> InputError:
    return InputError(
        f"{path}: camera {camera_id} is a {model[:40]}, but only {', '.join(COLMAP_MODELS)} are read; undistort the "
        "images first (colmap image_undistorter)."
    )


def _lines(path: Path, last: int = -1) -> list[tuple[int, list[str]]]:
    """Numbers and words of the lines that are no comments; the word number `last` is all that is left of the line."""
    lines = enumerate(read_text(path, _MAX_FILE_BYTES).split("\n"), start=1)
    return [(number, line.rstrip().split(maxsplit=last)) for number, line in lines if not line.startswith("#")]


def _read_cameras_txt(path: Path) -> dict[int, Lens]:
    cameras = {}
    for number, words in _lines(path):
        if not words:
            continue
        try:
            camera_id, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            if model not in COLMAP_MODELS:
                raise _unknown(path, camera_id, model)
            parameters = [float(word) for word in words[4:]]
            if len(parameters) != COLMAP_MODELS[model].parameter_count:
                raise InputError(f"{path}: {model} has {len(parameters)} parameters in line {number}.")
        except (IndexError, ValueError) as error:
            raise _bad_line(path, number, error) from None
        cameras[camera_id] = _lens(path, camera_id, model, width, height, parameters)
    return cameras


def _read_images_txt(path: Path) -> list[_Image]:
    lines = _lines(path, last=_NAME)
    while lines and not lines[0][1]:
        lines = lines[1:]
    images, lines_left = [], iter(lines)
    for number, words in lines_left:
        if not words:  # blank lines at the end
            continue
        _, observed = next(lines_left, (0, []))
        try:
            pose = np.array([float(word) for word in words[1:8]])
            identifier, camera_id, name = int(words[0]), int(words[8]), words[_NAME]
            observed = [*observed[:_NAME], *(word for rest in observed[_NAME:] for word in rest.split())]
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

"""Raw folders of ScanNet: the .sens file of a scene, or the folders that the publishers' tools extract from it."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from dynamic_predictor.evaluation.datasets.depth_files import read_depth_image
from dynamic_predictor.preparation.frames import RawFrame, measured, pinhole
from scene.errors import InputError
from scene.files.text import check_file, read_text
from scene.images import read_image

_VERSION = 4
_JPEG, _ZLIB = 2, 1
_MAX_SIDE, _MAX_COLOR_BYTES, _MAX_NAME_BYTES = 1 << 14, 64 << 20, 1 << 12


def scannet_scenes(raw: Path) -> list[str]:
    """Scenes of scans_train, or of scans, the name of the download."""
    parts = [part for part in ("scans_train", "scans") if (raw / part).is_dir()]
    return [f"scans_train/{path.name}" for part in parts for path in (raw / part).glob("scene*") if path.is_dir()]


def scannet_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """Color is brought into the camera of depth, whose place it shares. Frames without a pose are left out."""
    name = scene.split("/")[1]
    folder = next(raw / part / name for part in ("scans_train", "scans") if (raw / part / name).is_dir())
    sens = folder / f"{name}.sens"
    stored = read_sens(sens) if sens.is_file() else _extracted(folder)
    for number, (color, z_depth, color_matrix, depth_matrix, pose) in enumerate(stored):
        if not np.isfinite(pose).all():
            continue
        height, width = z_depth.shape
        warp = color_matrix @ np.linalg.inv(depth_matrix)
        # matrices count pixel centers at integers, as OpenCV does
        shrunk = max(round(color.shape[1] / width), 1)
        source = cv2.blur(color, (shrunk, shrunk)) if shrunk > 1 else color
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpPerspective(source, warp, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        focal = depth_matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
        yield RawFrame(f"{number:05d}", image, measured(z_depth), pinhole(*focal, centers=0.0), pose)


#: color uint8 (H, W, 3), depth float32 (h, w) in meters, their intrinsics (3, 3), world from camera (4, 4)
_Stored = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _extracted(folder: Path) -> Iterator[_Stored]:
    """color/0.jpg, depth/0.png, pose/0.txt and intrinsic/intrinsic_{color,depth}.txt."""
    color_matrix, depth_matrix = (
        _matrix(folder / "intrinsic" / f"intrinsic_{kind}.txt")[:3, :3] for kind in ("color", "depth")
    )
    count = len(list((folder / "color").glob("*.jpg")))
    if not (np.isfinite(color_matrix).all() and np.isfinite(depth_matrix).all()):
        raise InputError(f"{folder} has intrinsics that are not finite; leave the scene out.")
    for number in range(count):
        yield (
            read_image(folder / "color" / f"{number}.jpg"),
            read_depth_image(folder / "depth" / f"{number}.png", 1000),
            color_matrix,
            depth_matrix,
            _matrix(folder / "pose" / f"{number}.txt"),
        )


def _matrix(path: Path) -> np.ndarray:
    """A 4x4 matrix, which may be infinite for lost cameras."""
    words = re.split(r"[\s,]+", read_text(path).strip())
    try:
        return np.array([float(word) for word in words]).reshape(4, 4)
    except ValueError:
        raise InputError(f"{path} is not a matrix of 4x4 numbers; extract the scene again.") from None


@dataclass(frozen=True)
class _SensHeader:
    color_matrix: np.ndarray
    depth_matrix: np.ndarray
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    units_per_meter: float
    frames: int


def read_sens(path: Path) -> Iterator[_Stored]:
    """The frames of a .sens file (version 4, JPEG and zlib), read one by one. Raises `InputError` for other versions
    and kinds, and for files that end early or are damaged."""
    check_file(path, limit=1 << 40)
    with path.open("rb") as file:
        header = _read_header(file, path)
        for _ in range(header.frames):
            pose = _floats(file, path).reshape(4, 4)
            _, _, color_bytes, depth_bytes = struct.unpack("<4Q", _take(file, 32, path))
            width, height = header.depth_size
            if color_bytes > _MAX_COLOR_BYTES or depth_bytes > 4 * width * height + 1024:
                raise InputError(f"{path} has a frame of an impossible size; download it again.")
            pixels = np.frombuffer(_take(file, color_bytes, path), np.uint8)
            color = cv2.imdecode(pixels, cv2.IMREAD_COLOR) if len(pixels) else None
            depth = _inflated(_take(file, depth_bytes, path), 2 * width * height)
            if color is None or color.shape[1::-1] != header.color_size or len(depth) != 2 * width * height:
                raise InputError(f"{path} has a damaged frame; download it again.")
            meters = np.frombuffer(depth, "<u2").reshape(height, width).astype(np.float32) / header.units_per_meter
            yield cv2.cvtColor(color, cv2.COLOR_BGR2RGB), meters, header.color_matrix, header.depth_matrix, pose


def _read_header(file: IO[bytes], path: Path) -> _SensHeader:
    version, name_bytes = struct.unpack("<IQ", _take(file, 12, path))
    if version != _VERSION or name_bytes > _MAX_NAME_BYTES:
        raise InputError(f"{path} is not a .sens file of version {_VERSION}; download it again.")
    _take(file, name_bytes, path)
    # color and depth, each with a matrix and extrinsics, which are the identity
    matrices = [_floats(file, path).reshape(4, 4)[:3, :3] for _ in range(4)]
    kinds_and_sizes = struct.unpack("<2i4If", _take(file, 28, path))
    (frames,) = struct.unpack("<Q", _take(file, 8, path))
    color_kind, depth_kind, *sizes, units = kinds_and_sizes
    if (color_kind, depth_kind) != (_JPEG, _ZLIB):
        raise InputError(f"{path} has frames of kinds {color_kind} and {depth_kind}; only JPEG and zlib are read.")
    if not all(0 < size <= _MAX_SIDE for size in sizes) or not units > 0 or not np.isfinite(matrices).all():
        raise InputError(f"{path} has a damaged header; download it again.")
    return _SensHeader(matrices[0], matrices[2], (sizes[0], sizes[1]), (sizes[2], sizes[3]), units, frames)


def _floats(file: IO[bytes], path: Path) -> np.ndarray:
    return np.frombuffer(_take(file, 64, path), "<f4").astype(np.float64)


def _take(file: IO[bytes], count: int, path: Path) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise InputError(f"{path} ends in the middle; download it again.")
    return content


def _inflated(content: bytes, size: int) -> bytes:
    """Unpacked bytes, at most one more than `size`."""
    try:
        return zlib.decompressobj().decompress(content, size + 1)
    except zlib.error:
        return b""

"""Depth as data sets store it: 16-bit images, Sintel's .dpt, plain arrays."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.files.arrays import check_npy, known, read_npy
from scene.files.text import check_file
from scene.maps import FrameMaps, LoadedMaps

#: the first four bytes of Sintel's binary files, as a float32
SINTEL_TAG = np.float32(202021.25)
_MAX_PIXELS = 100_000_000


def depth_maps(files: Sequence[Path], read: Callable[[Path], np.ndarray]) -> FrameMaps:
    """Depths that are read when used; what is not finite and positive is 0 = unknown."""
    return LoadedMaps(len(files), lambda index: known(read(files[index])))


def read_depth_image(path: Path, units_per_meter: float) -> np.ndarray:
    """A 16-bit image whose values are metres times `units_per_meter`, 0 = unknown, as float32 (H, W)."""
    check_file(path)
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise InputError(f"{path} is no 16-bit image of depth; fetch the data set again.")
    return values.astype(np.float32) / np.float32(units_per_meter)


def read_dpt(path: Path) -> np.ndarray:
    """Sintel's depth file: tag, width, height as int32, then float32 by rows."""
    check_file(path)
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != SINTEL_TAG:
        raise InputError(f"{path} is no depth file of Sintel; fetch the data set again.")
    width, height = (int(x) for x in np.frombuffer(content[4:12], "<i4"))
    if not (0 < width and 0 < height and width * height <= _MAX_PIXELS) or len(content) != 12 + 4 * width * height:
        raise InputError(f"{path} is damaged: {len(content)} bytes for {width}x{height} pixels.")
    return np.frombuffer(content[12:], "<f4").reshape(height, width).astype(np.float32)


def read_depth_array(path: Path) -> np.ndarray:
    """A plain .npy of floating point numbers (H, W)."""
    return read_npy(path, check_npy(path, None))

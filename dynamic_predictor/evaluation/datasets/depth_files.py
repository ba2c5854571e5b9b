"""Readers of depth maps of data sets: 16-bit images and .npy arrays."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.arrays import check_npy, known, read_npy
from scene.maps import FrameMaps, LoadedMaps
from scene.media.image_header import stored_values


def depth_maps(files: Sequence[Path], read: Callable[[Path], np.ndarray]) -> FrameMaps:
    """Depth maps that `read` loads on access; values that are not finite and positive become 0 = unknown."""
    return LoadedMaps(len(files), lambda index: known(read(files[index])))


def read_depth_image(path: Path, units_per_meter: float) -> np.ndarray:
    """Reads a 16-bit image of depth in units of 1 / `units_per_meter` meters as float32 (H, W); 0 is unknown."""
    values = stored_values(path)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise InputError(f"{path} is not a 16-bit image of depth; download the data set again.")
    return values.astype(np.float32) / np.float32(units_per_meter)


def read_depth_array(path: Path) -> np.ndarray:
    """Reads a .npy file of floating point numbers as float32 (H, W)."""
    return read_npy(path, check_npy(path, None))

"""Arrays in OpenEXR and HDF5 files, which need the optional packages OpenEXR and h5py (the extra `datasets`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.text import check_file
from scene.installing import pip_line

#: names of the channel with depth, in the order of preference
_DEPTH_CHANNELS = ("Y", "Z", "V", "R")
_MAX_BYTES = 4 << 30


def read_exr(path: Path) -> np.ndarray:
    """The depth of an OpenEXR image as float32 (H, W): its only channel, or the one named Y, Z, V or R."""
    openexr = _openexr()
    check_file(path)
    try:
        with openexr.File(str(path), separate_channels=True) as file:
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, OSError, TypeError) as error:
        raise InputError(f"{path} is damaged and cannot be read as an OpenEXR image.") from error
    named = [channels[name] for name in _DEPTH_CHANNELS if name in channels] or list(channels.values())
    if not named or named[0].ndim != 2:
        raise InputError(f"{path} has no channel of depth; the file is of another kind.")
    return named[0].astype(np.float32)


def write_exr(path: Path, values: np.ndarray) -> None:
    """Writes float32 (H, W) as the only channel, Y, of an OpenEXR image. Not atomic by itself."""
    openexr = _openexr()
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"Y": np.ascontiguousarray(values, np.float32)}).write(str(path))


def read_hdf5(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an HDF5 file by their keys."""

    def read(file: Any) -> dict[str, np.ndarray]:
        missing = [key for key in keys if key not in file]
        if missing:
            raise InputError(f"{path} has no {missing[0]}; the file is damaged or of another kind.")
        if sum(file[key].nbytes for key in keys) > _MAX_BYTES:
            raise InputError(f"{path} holds more than {_MAX_BYTES >> 30} GiB by its headers; the file is damaged.")
        return {key: np.asarray(file[key]) for key in keys}

    return with_hdf5(path, read)


def with_hdf5(path: Path, read: Callable[[Any], Any]) -> Any:
    """What `read` returns for the opened HDF5 file; its errors become `InputError`."""
    h5py = _h5py(path)
    check_file(path, limit=1 << 40)
    try:
        with h5py.File(path, "r") as file:
            return read(file)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or of another kind; get it again.") from error


def with_hdf5_writer(path: Path, write: Callable[[Any], None]) -> None:
    """Writes an HDF5 file with `write`, whole or not at all."""
    h5py = _h5py(path)
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        write(file)


def _h5py(path: Path) -> Any:
    try:
        import h5py  # type: ignore[import-not-found]
    except ImportError:
        raise InputError(f"{path.name} needs the package h5py: {pip_line('h5py>=3.8')}") from None
    return h5py


def _openexr() -> Any:
    try:
        import OpenEXR  # type: ignore[import-not-found]
    except ImportError:
        raise InputError(f"Depth in .exr files needs the package OpenEXR: {pip_line('OpenEXR>=3.3')}") from None
    return OpenEXR

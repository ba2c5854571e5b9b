"""Arrays in .npy and .npz files that others wrote: checked by their headers before anything large is unpacked."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from scene.errors import InputError
from scene.files.text import check_file
from scene.maps import FrameMaps, LoadedMaps

_DAMAGE = (OSError, ValueError, EOFError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error)


def check_npz(path: Path, keys: Sequence[str], shape: tuple[int, int]) -> None:
    """Raises `InputError` unless the file is there with `keys` as floating point arrays of `shape`; reads headers."""
    check_file(path)
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        for key in keys:
            if f"{key}.npy" not in archive.namelist():
                raise InputError(f"{path} has no {key}; the file is damaged or of another kind.")
            with archive.open(f"{key}.npy") as file:
                _check_header(path, key, file, shape)


def check_npy(path: Path, shape: tuple[int, int] | None) -> tuple[int, int]:
    """The shape of a floating point array (H, W) in an .npy file; `InputError` unless it is `shape`, where given."""
    check_file(path)
    with _damage_named(path), path.open("rb") as file:
        return _check_header(path, "the array", file, shape)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turns the errors of reading an .npy or .npz file into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except _DAMAGE:
        kind = ".npz file of arrays" if path.suffix == ".npz" else f"{path.suffix} file"
        raise InputError(f"{path} is damaged and cannot be read as an {kind}.") from None


def _check_header(path: Path, what: str, file: IO[bytes], shape: tuple[int, int] | None) -> tuple[int, int]:
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    if len(header[0]) != 2 or (shape is not None and header[0] != shape):
        expected = f"frames of {shape[1]}x{shape[0]}" if shape else "a single image"
        raise InputError(f"{path}: {what} has shape {header[0]}, which does not fit {expected}.")
    if header[2].kind != "f":
        raise InputError(f"{path}: {what} is of type {header[2]}, not of floating point numbers.")
    return header[0]


def known(values: np.ndarray) -> np.ndarray:
    """Depth or confidence with everything that is not a finite positive number as 0 = unknown, float32."""
    values = np.asarray(values, np.float32)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0.0))


def read_npz(path: Path, key: str, shape: tuple[int, int]) -> np.ndarray:
    """One array of an .npz file, checked first, as float32 as it stands."""
    check_npz(path, [key], shape)
    with _damage_named(path), np.load(path, allow_pickle=False) as archive:
        return archive[key].astype(np.float32)


def read_npy(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The array of an .npy file, checked first, as float32 as it stands."""
    check_npy(path, shape)
    with _damage_named(path):
        return np.load(path, allow_pickle=False).astype(np.float32)


def npz_maps(paths: Sequence[Path], key: str, shape: tuple[int, int]) -> FrameMaps:
    """Depths or confidences that are read when used; what is not finite and positive is 0 = unknown."""
    return LoadedMaps(len(paths), lambda index: known(read_npz(paths[index], key, shape)))


def read_entries(path: Path, keys: Sequence[str], *, limit: int = 1 << 30) -> dict[str, np.ndarray]:
    """Arrays of an .npz file as they stand: numbers or text of any shape.

    Raises `InputError` for a missing file or entry, damage, Python objects, and more than `limit` bytes by the headers.
    """
    check_file(path)
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        total = 0
        for key in keys:
            if f"{key}.npy" not in archive.namelist():
                raise InputError(f"{path} has no {key}; the file is damaged or of another kind.")
            with archive.open(f"{key}.npy") as file:
                version = npy.read_magic(file)
                shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
            if dtype.hasobject:
                raise InputError(f"{path}: {key} holds Python objects, which are not read; save it as numbers or text.")
            total += math.prod(shape) * dtype.itemsize
            if total > limit:
                raise InputError(f"{path} holds more than {limit >> 20} MiB by its headers; the file is damaged.")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in keys}

"""Arrays in .npy and .npz files that others wrote: checked by their headers before anything large is unpacked."""

import io
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

#: of files with many arrays; what is read of them is bounded by itself
MAX_ARCHIVE_BYTES = 64 << 30
#: numpy itself writes headers of a few hundred bytes
_LARGEST_HEADER = 1 << 16
_DAMAGE = (OSError, ValueError, KeyError, EOFError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error)


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


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored by columns, and type of the array that follows in `file`.

    Raises ValueError for damage and for headers that no array needs: numpy would read one of up to 4 GiB.
    """
    version = npy.read_magic(file)
    size_bytes = file.read(2 if version == (1, 0) else 4)
    size = int.from_bytes(size_bytes, "little")
    if size > _LARGEST_HEADER:
        raise ValueError(f"a header of {size} bytes")
    header = io.BytesIO(size_bytes + file.read(size))
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read(header)
    if any(side < 0 for side in shape):
        raise ValueError(f"the shape {shape}")
    return shape, by_columns, dtype


def _check_header(path: Path, what: str, file: IO[bytes], shape: tuple[int, int] | None) -> tuple[int, int]:
    header = read_header(file)
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


def read_entries(
    path: Path, keys: Sequence[str] | None = None, *, limit: int = 1 << 30, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file as they stand: numbers or text of any shape. All of them where no `keys` are named; those
    of the `optional` keys that are there.

    Raises `InputError` for a missing file or entry, damage, Python objects, and more than `limit` bytes by the headers.
    """
    check_file(path, MAX_ARCHIVE_BYTES)
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = list(names) if keys is None else [*keys, *(key for key in optional if key in names)]
        total = 0
        for key in wanted:
            if key not in names:
                raise InputError(f"{path} has no {key}; the file is damaged or of another kind.")
            with archive.open(f"{key}.npy") as file:
                shape, _, dtype = read_header(file)
            total += _size_of(path, key, shape, dtype)
            if total > limit:
                raise InputError(f"{path} holds more than {limit >> 20} MiB by its headers; the file is damaged.")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in wanted}


def read_array(path: Path, *, limit: int = 1 << 30) -> np.ndarray:
    """The array of an .npy file as it stands: numbers or text of any shape.

    Raises `InputError` for a missing file, damage, Python objects, and more than `limit` bytes by the header.
    """
    check_file(path, MAX_ARCHIVE_BYTES)
    with _damage_named(path):
        with path.open("rb") as file:
            shape, _, dtype = read_header(file)
        if _size_of(path, "the array", shape, dtype) > limit:
            raise InputError(f"{path} holds more than {limit >> 20} MiB by its header; the file is damaged.")
        return np.load(path, allow_pickle=False)


def _size_of(path: Path, what: str, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of an array in memory. Raises `InputError` for Python objects."""
    if dtype.hasobject:
        raise InputError(f"{path}: {what} holds Python objects, which are not read; save it as numbers or text.")
    return math.prod(shape) * max(dtype.itemsize, 1)

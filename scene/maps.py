"""One array per frame (masks, depths, confidences), in memory while small and in a temporary file when large."""

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

import cv2
import numpy as np

from scene.files.atomic import writing_error


class FrameMaps(Protocol):
    """Read access to one float32 array (H, W) per frame; reading may touch the disk, so read once and keep."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class StoredMaps:
    """Writable maps of one shape, kept as `dtype`: in memory up to `memory_limit` bytes, above that in a temporary file
    that disappears with this object. Reading gives float32 copies. The file is not mapped into memory, because mapped
    pages count as memory of the process."""

    def __init__(
        self,
        count: int,
        height: int,
        width: int,
        dtype: type = np.float16,
        memory_limit: int = 256 << 20,
    ) -> None:
        self._shape = (count, height, width)
        self._dtype = np.dtype(dtype)
        self._map_bytes = height * width * self._dtype.itemsize
        self._file: IO[bytes] | None = None
        if count * self._map_bytes <= memory_limit:
            self._maps: np.ndarray | None = np.zeros(self._shape, dtype)
        else:
            self._maps = None
            self._file = tempfile.TemporaryFile(prefix="stillsplat-", buffering=0)
            _reserve(self._file, count * self._map_bytes)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if self._file is None:
            assert self._maps is not None
            return np.array(self._maps[index], dtype=np.float32)
        self._file.seek(self._offset(index))
        values = np.frombuffer(self._file.read(self._map_bytes).ljust(self._map_bytes, b"\0"), self._dtype)
        return values.reshape(self._shape[1:]).astype(np.float32)

    def __setitem__(self, index: int, value: np.ndarray) -> None:
        if self._file is None:
            assert self._maps is not None
            self._maps[index] = value
            return
        values = np.empty(self._shape[1:], self._dtype)
        values[...] = value
        left = memoryview(values.tobytes())
        self._file.seek(self._offset(index))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise writing_error(Path(tempfile.gettempdir()), error) from error

    def _offset(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return (index % len(self)) * self._map_bytes


def _reserve(file: IO[bytes], size: int) -> None:
    """Takes the room on the disk at once, so that a disk that is too small is known at the start."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise writing_error(Path(tempfile.gettempdir()), error) from error


class LoadedMaps:
    """Maps that are read on demand by `load(index)`, nothing kept."""

    def __init__(self, count: int, load: Callable[[int], np.ndarray]) -> None:
        self._count = count
        self._load = load

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._load(index % self._count)


def chosen_maps(maps: FrameMaps | None, indices: Sequence[int] | range) -> FrameMaps | None:
    """The maps at `indices`, read when used; None of None."""
    return None if maps is None else LoadedMaps(len(indices), lambda place: maps[indices[place]])


def maps_of_size(maps: FrameMaps, size: tuple[int, int], *, nearest: bool = False) -> FrameMaps:
    """Maps resized to `size` (width, height). `nearest` is for depth: a mean of two depths lies on no surface."""
    if maps[0].shape == size[::-1]:
        return maps
    stored = StoredMaps(len(maps), size[1], size[0], np.float32 if nearest else np.float16)
    for index in range(len(maps)):
        stored[index] = map_of_size(maps[index], size, nearest=nearest)
    return stored


def map_of_size(values: np.ndarray, size: tuple[int, int], *, nearest: bool = False) -> np.ndarray:
    """A map (H, W) resized to `size` (width, height)."""
    if values.shape == size[::-1]:
        return values
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR)


def map_8_bit(values: np.ndarray) -> np.ndarray:
    """A map in [0, 1] as uint8, round(255 value); not-a-number is 0."""
    return np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255.0).astype(np.uint8)

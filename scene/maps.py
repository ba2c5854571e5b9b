"""One array per frame (masks, depths, confidences), in memory while small and in a temporary file when large."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from scene.atomic import writing_error


class FrameMaps(Protocol):
    """Read access to one float32 array (H, W) per frame; reading may touch the disk, so read once and keep."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class StoredMaps:
    """Writable maps of one shape, kept as `dtype`: in memory up to `memory_limit` bytes, above that in a memory-mapped
    temporary file that disappears with this object. Reading gives float32 copies."""

    def __init__(
        self,
        count: int,
        height: int,
        width: int,
        dtype: type = np.float16,
        memory_limit: int = 256 << 20,
    ) -> None:
        shape = (count, height, width)
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size <= memory_limit:
            self._maps: np.ndarray = np.zeros(shape, dtype)
        else:
            self._file = tempfile.TemporaryFile(prefix="stillsplat-")
            _reserve(self._file, size)
            self._maps = np.memmap(self._file, dtype=dtype, mode="w+", shape=shape)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array(self._maps[index], dtype=np.float32)

    def __setitem__(self, index: int, value: np.ndarray) -> None:
        self._maps[index] = value

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))


def _reserve(file: IO[bytes], size: int) -> None:
    """Takes the room on the disk at once: a disk that fills up later, when a mapped page is written, kills the
    process."""
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

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

"""The frames of the input at full size, where any part of any of them can be read while others are worked on.

They lie in one temporary file, not in memory. Of very large clips only some frames can be fetched from.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from dynamic_predictor.driver.sources import open_stored
from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.media.color import ColorEncoding
from scene.media.decoding import OriginalImage

#: bytes of stored frames at most, and frames at least
_LIMIT, _FEWEST = 12 << 30, 24


class FrameStore:
    """The originals of the frames at `positions` of a source, in order. `stored`: indices of the frames that can be
    read in parts."""

    def __init__(self, source: str | Path, positions: Sequence[int], folder: Path) -> None:
        """`folder`: where the temporary file lies. Raises `InputError` for a source that is gone, or has other frames,
        and when there is too little room on the disk."""
        if list(positions) != sorted(positions):
            raise InputError(f"The frames of {source} are not in the order of the run.")
        self._source, self._positions = source, list(positions)
        self.count = len(self._positions)
        self.encoding = ColorEncoding()
        self.dtype, self.height, self.width = np.dtype(np.uint8), 0, 0
        self.stored: list[int] = []
        self._file: IO[bytes] | None = None
        self._folder = folder
        self._bytes, self._complete = 0, False

    def originals(self) -> Iterator[tuple[int, OriginalImage]]:
        """All frames with their indices, read from the source; the first pass also stores them."""
        number = 0
        for index, image in zip(range(self.count), open_stored(self._source).originals(self._positions), strict=False):
            if index == 0 and self._file is None:
                self._begin(image)
            if image.codes.shape != (self.height, self.width, 3) or image.codes.dtype != self.dtype:
                raise InputError(f"Frame {image.position} of {self._source} is of another size or kind than the first.")
            if index in self.stored and not self._complete:
                self._write(self.stored.index(index), image.codes)
            number += 1
            yield index, image
        self._complete = True
        if number < self.count:
            raise InputError(
                f"{self._source} has only {number} of the {self.count} frames of the run; give the clip of the run."
            )

    def frames(self) -> Iterator[tuple[int, np.ndarray]]:
        """All frames with their indices, after the first pass: (H, W, 3) in the type of the input."""
        if len(self.stored) < self.count:
            yield from ((index, image.codes) for index, image in self.originals())
            return
        for index in range(self.count):
            yield index, self.region(index, slice(0, self.height), slice(0, self.width))

    def _begin(self, image: OriginalImage) -> None:
        self.height, self.width = image.codes.shape[:2]
        self.dtype, self.encoding = image.codes.dtype, image.encoding
        self._bytes = image.codes.nbytes
        room = min(_LIMIT, int(0.8 * shutil.disk_usage(self._folder).free))
        most = max(1, room // self._bytes)
        if most < min(_FEWEST, self.count):
            raise InputError(
                f"{self._folder} has no room for frames of {self._bytes >> 20} MiB each, of which the plate needs "
                f"{min(_FEWEST, self.count)}; make room, or leave the plate out with --no-plate."
            )
        chosen = np.linspace(0, self.count - 1, min(self.count, most)).round().astype(int)
        self.stored = [int(index) for index in np.unique(chosen)]
        self._file = tempfile.TemporaryFile(prefix="plate-", dir=self._folder, buffering=0)

    def _write(self, slot: int, codes: np.ndarray) -> None:
        assert self._file is not None
        left = memoryview(np.ascontiguousarray(codes).tobytes())
        self._file.seek(slot * self._bytes)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise writing_error(self._folder, error) from error

    def region(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """Part of stored frame `index`, (h, w, 3) in the type of the input."""
        assert self._file is not None
        row_bytes = self._bytes // self.height
        start = self.stored.index(index) * self._bytes + rows.start * row_bytes
        data = os.pread(self._file.fileno(), (rows.stop - rows.start) * row_bytes, start)
        values = np.frombuffer(data, self.dtype).reshape(rows.stop - rows.start, self.width, 3)
        return np.ascontiguousarray(values[:, columns])

    def close(self) -> None:
        """Frees the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

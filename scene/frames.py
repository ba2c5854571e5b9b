"""The frames of a clip: one interface over folders of images and anything else that yields pictures."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from scene.errors import InputError


class Frames(Protocol):
    """Random access to the pictures of one clip, all of one size.

    `names[i]` is the file name that frame i has in a scene folder ("00000.png"); `timestamps[i]` is in seconds.
    """

    width: int
    height: int
    names: Sequence[str]
    timestamps: Sequence[float]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Float32 RGB (H, W, 3) in [0, 1]."""
        ...

    def rgb8(self, index: int) -> np.ndarray:
        """The same picture as uint8 RGB (H, W, 3)."""
        ...


class ImageFolderFrames:
    """Frames that lie as 8-bit RGB images in a folder, read when asked for; a few are kept (`cache_bytes`)."""

    def __init__(
        self,
        paths: Sequence[Path],
        timestamps: Sequence[float] | None = None,
        cache_bytes: int = 128 << 20,
    ) -> None:
        if not paths:
            raise InputError("There are no frames to read; give a folder with at least two images or a video.")
        self.paths = [Path(path) for path in paths]
        self.names = [path.name for path in self.paths]
        self.timestamps = list(timestamps) if timestamps is not None else [index / 30.0 for index in range(len(paths))]
        first = _read_rgb8(self.paths[0])
        self.height, self.width = first.shape[:2]
        self._read = lru_cache(maxsize=max(2, cache_bytes // first.nbytes))(self._read_checked)

    def _read_checked(self, index: int) -> np.ndarray:
        picture = _read_rgb8(self.paths[index])
        if picture.shape[:2] != (self.height, self.width):
            raise InputError(
                f"{self.paths[index]} is {picture.shape[1]}x{picture.shape[0]} but the first frame is "
                f"{self.width}x{self.height}; all frames of a clip must have one size."
            )
        picture.setflags(write=False)
        return picture

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))


def _read_rgb8(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path} cannot be read as an image; it is missing, damaged or of an unknown kind.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

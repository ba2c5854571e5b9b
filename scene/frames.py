"""The frames of a clip: one interface over image files and images in memory."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from scene.errors import InputError
from scene.images import IMAGE_SUFFIXES
from scene.media.image_header import check_image_size

#: shorter sides than this leave nothing to track
MIN_SIDE = 16
#: images of a folder have no times: they are taken to be this many per second
ASSUMED_RATE = 30.0


class Frames(Protocol):
    """Random access to the images of one clip, all of one size.

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
        """The same image as uint8 RGB (H, W, 3)."""
        ...


def stored_pngs(frames: Frames) -> list[Path] | None:
    """The files of frames that are 8-bit RGB PNG files already, as `write_png` writes them; None for other frames."""
    return frames.paths if isinstance(frames, ImageFolderFrames) and frames.stored_as_png else None


class ImageFolderFrames:
    """Frames stored as 8-bit RGB image files, read on demand; the latest are cached, up to `cache_bytes`."""

    def __init__(
        self,
        paths: Sequence[Path],
        timestamps: Sequence[float] | None = None,
        cache_bytes: int = 128 << 20,
        stored_as_png: bool = False,
    ) -> None:
        if not paths:
            raise InputError("There are no frames to read; give a folder with at least two images or a video.")
        self.paths = [Path(path) for path in paths]
        #: `write_png` wrote the files, so that a scene can link them instead of encoding the frames again
        self.stored_as_png = stored_as_png
        self.names: Sequence[str] = [path.name for path in self.paths]
        self.timestamps: Sequence[float] = (
            list(timestamps) if timestamps is not None else [index / ASSUMED_RATE for index in range(len(paths))]
        )
        first = _read_rgb8(self.paths[0])
        self.height, self.width = first.shape[:2]
        self._read = lru_cache(maxsize=max(2, cache_bytes // first.nbytes))(self._read_checked)

    def _read_checked(self, index: int) -> np.ndarray:
        image = _read_rgb8(self.paths[index])
        if image.shape[:2] != (self.height, self.width):
            raise InputError(
                f"{self.paths[index]} is {image.shape[1]}x{image.shape[0]} but the first frame is "
                f"{self.width}x{self.height}; all frames of a clip must have one size."
            )
        image.setflags(write=False)
        return image

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))


class MemoryFrames:
    """Frames in memory: uint8 RGB `images` (N, H, W, 3), 30 per second."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.height, self.width = images.shape[1:3]
        self.names: Sequence[str] = [f"{index:05d}.png" for index in range(len(images))]
        self.timestamps: Sequence[float] = [index / ASSUMED_RATE for index in range(len(images))]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        return self._images[index]


#: of the number of a frame
_MOST_DIGITS = 9


def parse_frame_range(text: str | None) -> slice:
    """ "START:STOP:STEP" (each part may be left out) or one part "STOP" as a slice; None is all frames."""
    if text is None or text.strip() in ("", ":"):
        return slice(None)
    match = re.fullmatch(r"\s*(\d*)\s*(?::\s*(\d*)\s*(?::\s*(\d*)\s*)?)?", text)
    if not match or any(len(part or "") > _MOST_DIGITS for part in match.groups()):
        raise InputError(
            f'The frame range "{text[:80]}" is not START:STOP:STEP in whole numbers from 0; write e.g. 0:100:2.'
        )
    parts = [int(part) if part else None for part in match.groups()]
    return slice(0, parts[0]) if ":" not in text else slice(*parts)


def natural_order(path: str | Path) -> list[tuple[int, int | str]]:
    """A sort key that puts frame2 before frame10."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", str(path).lower()) if part != ""
    ]


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder in natural order; hidden files and other kinds are passed over."""
    try:
        return sorted(
            (
                path
                for path in folder.iterdir()
                if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
            ),
            key=natural_order,
        )
    except PermissionError:
        raise InputError(f"{folder} may not be read; check its permissions.") from None


def _read_rgb8(path: Path) -> np.ndarray:
    check_image_size(path)
    # OpenCV's own reading of files crashes at names that are not UTF-8
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be read as an image; it is missing, damaged or of an unknown kind.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

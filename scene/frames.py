"""The frames of a clip: one interface over videos, folders of images and anything else that yields images."""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.images import IMAGE_SUFFIXES, fitted_size, read_image, resize_image, write_png
from scene.progress import Progress, ignore_progress
from scene.video import decode_video

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
    """Frames that lie as 8-bit RGB images in a folder, read when asked for; a few are kept (`cache_bytes`)."""

    def __init__(
        self,
        paths: Sequence[Path],
        timestamps: Sequence[float] | None = None,
        cache_bytes: int = 128 << 20,
        warnings: Sequence[str] = (),
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
        #: what a person should know about how these frames were read, one sentence each
        self.warnings = list(warnings)
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
    """Frames that lie in memory: uint8 RGB `images` (N, H, W, 3), 30 per second."""

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


def open_frames(
    source: str | Path | Sequence[str | Path],
    *,
    max_size: int | None = 512,
    frame_range: slice | str | None = None,
    working_folder: str | Path,
    progress: Progress = ignore_progress,
) -> ImageFolderFrames:
    """Reads a clip and lays its frames as 8-bit RGB PNGs 00000.png, 00001.png, ... into `working_folder`.

    `source` is a video file, a folder of images (in natural order), a glob pattern, or a list of image files in the
    order given. One image is in memory at a time, so clips of any length and size work. Images whose long side
    exceeds `max_size` are shrunk to it by area means; none is enlarged; None keeps the size. `frame_range` is a slice
    or "START:STOP:STEP" over the frames of the source, counted from 0. Times are those of the video; images are taken
    to come 30 per second.

    A damaged video gives what can be decoded of it, with a sentence in the result's `warnings`. Raises `InputError` for
    everything that cannot become a clip of at least two different frames of one size; then `working_folder` is left
    without new files.
    """
    if max_size is not None and max_size < MIN_SIDE:
        raise InputError(f"The largest size must be at least {MIN_SIDE} pixels, not {max_size}.")
    chosen = frame_range if isinstance(frame_range, slice) else parse_frame_range(frame_range)
    _check_slice(chosen)
    working_folder = Path(working_folder)
    paths: list[Path] = []
    timestamps: list[float] = []
    warnings: list[str] = []
    done, is_new = False, not working_folder.exists()
    try:
        working_folder.mkdir(parents=True, exist_ok=True)
        first, change_seen = None, False
        title = _title(source)
        images, is_video = _images(source, chosen, warnings, progress)
        full_size = None
        for name, time, pixels in images:
            size = (pixels.shape[1], pixels.shape[0])
            full_size = full_size or size
            if size != full_size:
                raise InputError(
                    f"{name} is {size[0]}x{size[1]} but the first frame is {full_size[0]}x{full_size[1]}; "
                    "all frames of a clip must have one size."
                )
            width, height = fitted_size(*size, max_size)
            if min(width, height) < MIN_SIDE:
                raise InputError(
                    f"{name} would be {width}x{height} pixels; frames need at least {MIN_SIDE} pixels on each side."
                )
            pixels = resize_image(pixels, width, height)
            if first is None:
                first = pixels.astype(np.int16)
            elif not change_seen:
                change_seen = _differs(pixels, first, is_video)
            path = working_folder / f"{len(paths):05d}.png"
            paths.append(path)
            write_png(path, pixels)
            timestamps.append(time)
        if len(paths) < 2:
            found = "no frame" if not paths else "only one frame"
            range_hint = " in the chosen range" if chosen != slice(None) else ""
            damage = f" ({warnings[0][:-1]})" if warnings else ""
            raise InputError(f"{title} has {found}{range_hint}{damage}; a scene needs at least two.")
        if not change_seen:
            raise InputError(
                f"All {len(paths)} frames of {title} are the same image, which tells nothing about depth or motion; "
                "give a clip in which the camera or something else moves."
            )
        result = ImageFolderFrames(paths, timestamps, warnings=warnings, stored_as_png=True)
        done = True
        return result
    except OSError as error:
        raise writing_error(working_folder, error) from error
    finally:
        if not done:
            for path in paths:
                path.unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):  # it may not have been made, or somebody put things into it
                    working_folder.rmdir()


def _differs(pixels: np.ndarray, first: np.ndarray, coded: bool) -> bool:
    """Whether a frame shows something else than the first (int16). In a video of one still image the coder refines
    the image from frame to frame: measured, by up to 0.41 grey levels on average and by up to 7 in all but 0.1 % of
    them; not always by the same, when the machine is busy."""
    difference = np.abs(pixels - first)
    if not coded:
        return bool(difference.any())
    return bool(difference.mean() > 0.5 or (difference > 10).mean() > 1e-3)


def parse_frame_range(text: str | None) -> slice:
    """ "START:STOP:STEP" (each part may be left out) or one part "STOP" as a slice; None is all frames."""
    if text is None or text.strip() in ("", ":"):
        return slice(None)
    match = re.fullmatch(r"\s*(\d*)\s*(?::\s*(\d*)\s*(?::\s*(\d*)\s*)?)?", text)
    if not match:
        raise InputError(
            f'The frame range "{text}" is not START:STOP:STEP in whole numbers from 0; write e.g. 0:100:2.'
        )
    parts = [int(part) if part else None for part in match.groups()]
    return slice(0, parts[0]) if ":" not in text else slice(*parts)


def _check_slice(chosen: slice) -> None:
    if any(part is not None and part < 0 for part in (chosen.start, chosen.stop)):
        raise InputError("A frame range counts from the first frame; negative numbers have no meaning in it.")
    if chosen.step is not None and chosen.step < 1:
        raise InputError("The step of a frame range must be 1 or more.")


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


def _title(source: str | Path | Sequence[str | Path]) -> str:
    return str(source) if isinstance(source, str | Path) else "The list of images"


def _images(
    source: str | Path | Sequence[str | Path], chosen: slice, warnings: list[str], progress: Progress
) -> tuple[Iterator[tuple[str, float, np.ndarray]], bool]:
    """(what to call it, seconds, uint8 RGB pixels) of each chosen frame, and whether they come from a video."""
    if not isinstance(source, str | Path):
        return _from_files([Path(path) for path in source], chosen, progress), False
    path = Path(source).expanduser()
    if path.is_dir():
        files = list_images(path)
        if not files:
            raise InputError(f"{path} holds no images{_where_else(path)}; give a folder of images or a video file.")
        return _from_files(files, chosen, progress), False
    if not path.exists():
        if not glob.has_magic(str(source)):
            raise InputError(f"{path} does not exist; check the path.")
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
        files = sorted((match for match in matches if match.is_file()), key=natural_order)
        if not files:
            raise InputError(f"No file matches {source}; check the pattern.")
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if not images and len(files) == 1:
            return _from_video(files[0], chosen, warnings, progress), True
        if not images:
            raise InputError(f"None of the {len(files)} files that match {source} is a image; check the pattern.")
        return _from_files(images, chosen, progress), False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path} is a single image; give a video or a folder with at least two images.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); give a video or a folder of images.")
    return _from_video(path, chosen, warnings, progress), True


def _where_else(folder: Path) -> str:
    for name in ("rgb", "images", "image", "frames", "JPEGImages"):
        if (folder / name).is_dir() and list_images(folder / name):
            return f", but {folder / name} does"
    videos = [path for path in folder.iterdir() if path.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi")]
    return f", but the video {videos[0].name}" if videos else ""


def _from_files(files: list[Path], chosen: slice, progress: Progress) -> Iterator[tuple[str, float, np.ndarray]]:
    selected = list(enumerate(files))[chosen]
    for done, (position, path) in enumerate(selected):
        yield str(path), position / ASSUMED_RATE, read_image(path)
        progress("reading frames", done + 1, len(selected))


def _from_video(
    path: Path, chosen: slice, warnings: list[str], progress: Progress
) -> Iterator[tuple[str, float, np.ndarray]]:
    start, step = chosen.start or 0, chosen.step or 1
    last = None if chosen.stop is None else chosen.stop - 1

    def wanted(position: int) -> bool:
        return position >= start and (last is None or position <= last) and (position - start) % step == 0

    def report(done: int, declared: int) -> None:
        total = min(declared, last + 1) if last is not None and declared else declared
        progress("reading frames", done, max(total, done))

    if last is not None and last < start:
        return
    for image in decode_video(path, wanted, last, warnings.append, report):
        yield f"Frame {image.position} of {path}", image.time, image.pixels


def _read_rgb8(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be read as an image; it is missing, damaged or of an unknown kind.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

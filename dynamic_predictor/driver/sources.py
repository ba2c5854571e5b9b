"""Where frames come from: a folder, a list of image files, a video file, a camera or a network stream.

A source is read once and lazily, one image in memory at a time; `live_source` has those that do not wait.
"""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dynamic_predictor.driver.live_source import LIVE_RATE, CameraReader, LiveSource, NetworkReader
from scene.errors import InputError
from scene.frames import ASSUMED_RATE, list_images, natural_order, parse_frame_range
from scene.images import IMAGE_SUFFIXES, read_layers
from scene.video import DecodedImage, decode_video

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")

Source = str | Path | Sequence[str | Path]


class FrameSource(Protocol):
    """Yields frames in their order. `total`: how many are expected, 0 if that is not known. `ended`: after the last
    frame, one sentence why the source ended early, or None. `is_video`: frames were compressed by a video coder.
    `selection`: " in the chosen range" where a range of frames was chosen, for messages."""

    title: str
    selection: str
    total: int
    is_live: bool
    is_video: bool
    ended: str | None

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        """Images from the first frame on, or after the first `skip` frames, which an earlier run has stored (ignored by
        live sources), with their positions among all images of the source. May be called once."""
        ...

    def frame_name(self, index: int) -> str:
        """How messages name frame `index`, counted from 0 over the frames taken."""
        ...


def is_live(source: Source) -> bool:
    """Whether `source` names a camera of this machine ("0") or the address of a network stream."""
    text = source if isinstance(source, str) else ""
    return "://" in text or (text.isdigit() and not Path(text).exists())


def source_title(text: str) -> str:
    """How messages name the source that `text` names."""
    return f"camera {text}" if is_live(text) and "://" not in text else text


def open_source(
    source: Source,
    *,
    frames: slice | str | None = None,
    rate: float | None = None,
    max_frames: int | None = None,
) -> FrameSource:
    """The source that `source` names: a folder of images (in natural order), a glob pattern, a video file, an image
    file, a list of image files, the number of a camera ("0"), or the address of a network stream ("rtsp://...").

    `frames`: a slice or "START:STOP:STEP" over the frames of a file or folder, counted from 0. `rate`: at most so many
    frames per second; None takes all of a file or folder and `LIVE_RATE` of a live source. `max_frames` ends the
    source. Raises `InputError`, one sentence, when there is no such thing.
    """
    chosen = frames if isinstance(frames, slice) else parse_frame_range(frames)
    _check_slice(chosen)
    if not isinstance(source, str | Path):
        return ImageFiles("The list of images", [Path(path) for path in source], chosen, rate, max_frames)
    text, path = str(source), Path(source).expanduser()
    if is_live(text):
        connect = (lambda: NetworkReader(text)) if "://" in text else (lambda: CameraReader(int(text)))
        return LiveSource(source_title(text), connect, rate=rate or LIVE_RATE, max_frames=max_frames)
    if path.is_dir():
        files = list_images(path)
        if not files:
            raise InputError(f"{path} holds no images{_where_else(path)}; give a folder of images or a video file.")
        return ImageFiles(str(path), files, chosen, rate, max_frames)
    if not path.exists():
        return _open_pattern(text, path, chosen, rate, max_frames)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles(text, [path], chosen, rate, max_frames)
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); give a video or a folder of images.")
    return VideoFile(path, chosen, rate, max_frames)


def _open_pattern(
    text: str, path: Path, chosen: slice, rate: float | None, max_frames: int | None
) -> "ImageFiles | VideoFile":
    if not glob.has_magic(text):
        raise InputError(
            f"{text} does not exist; check the path, or give a folder, a video, the number of a camera or an rtsp:// "
            "address."
        )
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
    files = sorted((match for match in matches if match.is_file()), key=natural_order)
    if not files:
        raise InputError(f"No file matches {text}; check the pattern.")
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images and len(files) == 1:
        return VideoFile(files[0], chosen, rate, max_frames)
    if not images:
        raise InputError(f"None of the {len(files)} files that match {text} is an image; check the pattern.")
    return ImageFiles(text, images, chosen, rate, max_frames)


def _check_slice(chosen: slice) -> None:
    if any(part is not None and part < 0 for part in (chosen.start, chosen.stop)):
        raise InputError("A frame range counts from the first frame; negative numbers have no meaning in it.")
    if chosen.step is not None and chosen.step < 1:
        raise InputError("The step of a frame range must be 1 or more.")


def _selection(chosen: slice) -> str:
    return "" if chosen == slice(None) else " in the chosen range"


def _where_else(folder: Path) -> str:
    for name in ("rgb", "images", "image", "frames", "JPEGImages"):
        if (folder / name).is_dir() and list_images(folder / name):
            return f", but {folder / name} does"
    videos = [path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
    return f", but the video {videos[0].name}" if videos else ""


class ImageFiles:
    """Image files in the order given; they are taken to have been recorded at 30 per second."""

    is_live = is_video = False
    ended: str | None = None

    def __init__(
        self,
        title: str,
        files: Sequence[Path],
        chosen: slice = slice(None),
        rate: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        step = 1 if rate is None else max(1, round(ASSUMED_RATE / rate))
        selected = list(enumerate(files))[chosen][::step][:max_frames]
        self._positions = [position for position, _ in selected]
        self.files = [path for _, path in selected]
        self.title, self.total, self.selection = title, len(self.files), _selection(chosen)

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        for index in range(skip, len(self.files)):
            position = self._positions[index]
            color, alpha = read_layers(self.files[index])
            yield DecodedImage(position, position / ASSUMED_RATE, color, alpha)

    def frame_name(self, index: int) -> str:
        return str(self.files[index])


class VideoFile:
    """A video file. Frames that cannot be decoded are left out and reported in `ended`."""

    is_live, is_video = False, True
    ended: str | None = None

    def __init__(
        self,
        path: Path,
        chosen: slice = slice(None),
        rate: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        self._path, self._rate, self._max_frames = path, rate, max_frames
        self._start, self._step = chosen.start or 0, chosen.step or 1
        self._last = None if chosen.stop is None else chosen.stop - 1
        self._positions: list[int] = []
        self.title, self.total, self.selection = str(path), 0, _selection(chosen)

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        if self._last is not None and self._last < self._start:
            return

        def wanted(position: int) -> bool:
            inside = position >= self._start and (self._last is None or position <= self._last)
            return inside and (position - self._start) % self._step == 0

        def warn(sentence: str) -> None:
            self.ended = sentence

        def report(done: int, declared: int) -> None:
            if declared and self._rate is None and self._max_frames is None:
                stop = declared if self._last is None else min(declared, self._last + 1)
                self.total = max(0, -(-(stop - self._start) // self._step))

        next_time = 0.0
        for image in decode_video(self._path, wanted, self._last, warn, report):
            if self._rate is not None and image.time < next_time - 1e-6:
                continue
            if self._rate is not None:
                next_time = max(next_time + 1.0 / self._rate, image.time)
            self._positions.append(image.position)
            if len(self._positions) > skip:
                yield image
            if self._max_frames is not None and len(self._positions) >= self._max_frames:
                return

    def frame_name(self, index: int) -> str:
        return f"Frame {self._positions[index]} of {self._path}"

"""Where frames come from: a folder, a list of image files, a video file, a camera or a network stream.

A source is read once and lazily, one image in memory at a time; `live_source` has those that do not wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dynamic_predictor.driver.live_source import LIVE_RATE, CameraReader, LiveSource, NetworkReader
from dynamic_predictor.driver.source_names import Source, is_address, is_live, matching_files, source_title
from scene.errors import InputError
from scene.files.paths import expanded, shortened
from scene.frames import ASSUMED_RATE, list_images, parse_frame_range
from scene.images import IMAGE_SUFFIXES, read_layers, read_original
from scene.media.animation import animation_images, is_animated
from scene.media.color import ColorEncoding
from scene.media.decoding import DecodedImage, OriginalImage, VideoClip
from scene.media.image_header import read_header
from scene.media.integer_range import clip_bits
from scene.media.projection import refuse_spherical

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".mxf", ".gif"}
)


class FrameSource(Protocol):
    """Yields frames in their order. `total`: how many are expected, 0 if that is not known. `ended`: after the last
    frame, one sentence why the source ended early, or None. `is_video`: frames were compressed by a video coder.
    `selection`: " in the chosen range" where a range of frames was chosen, for messages. `notes`: after the first
    frame, what a person should know about the source, one sentence each; `description`: the same for `scene.json`."""

    title: str
    selection: str
    total: int
    is_live: bool
    is_video: bool
    ended: str | None

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def description(self) -> Mapping[str, Any]: ...

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        """Images from the first frame on, or after the first `skip` frames, which an earlier run has stored (ignored by
        live sources), with their positions among all images of the source. May be called once."""
        ...

    def frame_name(self, index: int) -> str:
        """How messages name frame `index`, counted from 0 over the frames taken."""
        ...


class StoredSource(FrameSource, Protocol):
    """A source that can be read again: files, but not what is live."""

    def originals(self, positions: Sequence[int]) -> Iterator[OriginalImage]:
        """The frames at `positions` (increasing, counted as in `DecodedImage`) as their files hold them, at full size
        and depth, one in memory at a time. A scene records its positions (`provenance`, `source_frames`)."""
        ...


def image_names(source: Source) -> list[str] | None:
    """The names of the image files of a folder, pattern or list, in their order; None for other sources."""
    if is_live(source):
        return None
    opened = open_source(source)
    return [file.name for file in opened.files] if isinstance(opened, ImageFiles) else None


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
    text = str(source)
    if is_live(text):
        connect = (lambda: NetworkReader(text)) if is_address(text) else (lambda: CameraReader(int(text)))
        return LiveSource(source_title(text), connect, rate=rate or LIVE_RATE, max_frames=max_frames)
    return open_stored(source, chosen, rate, max_frames)


def open_stored(
    source: str | Path, chosen: slice = slice(None), rate: float | None = None, max_frames: int | None = None
) -> StoredSource:
    """The source that the path or pattern `source` names; see `open_source`."""
    text, path = str(source), expanded(source)
    if path.is_dir():
        files = list_images(path)
        if not files:
            raise InputError(f"{path} holds no images{_where_else(path)}; give a folder of images or a video file.")
        refuse_spherical(files[0])
        return _image_source(str(path), files, chosen, rate, max_frames)
    if path.exists():
        files = [path]
    else:
        files = matching_files(path)
    if files is None:
        raise InputError(
            f"{shortened(text)} does not exist; check the path, or give a folder, a video, the number of a camera or "
            "an rtsp:// address."
        )
    if not files:
        raise InputError(f"No file matches {shortened(text)}; check the pattern.")
    refuse_spherical(files[0])
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        return _image_source(text, images, chosen, rate, max_frames)
    if len(files) > 1:
        raise InputError(f"None of the {len(files)} files that match {text} is an image; check the pattern.")
    return VideoFile(files[0], chosen, rate, max_frames)


def _image_source(
    title: str, files: Sequence[Path], chosen: slice, rate: float | None, max_frames: int | None
) -> "ImageFiles | AnimatedImage":
    if len(files) == 1 and is_animated(files[0]):
        return AnimatedImage(files[0], chosen, rate, max_frames)
    return ImageFiles(title, files, chosen, rate, max_frames)


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
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        return f", but the video {videos[0].name}"
    return f", but {files[0].suffix} files, which are not read" if files and files[0].suffix else ""


class ImageFiles:
    """Image files in the order given; they are taken to have been recorded at 30 per second. Files of 16 bits whose
    values use only 10, 12 or 14 of them, in the whole clip, are scaled by these."""

    is_live = is_video = False
    ended: str | None = None
    notes: Sequence[str] = ()

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
        self._all_files, self._positions = list(files), [position for position, _ in selected]
        self.files = [path for _, path in selected]
        self.title, self.total, self.selection = title, len(self.files), _selection(chosen)
        self.description: dict[str, Any] = {"kind": "images"}
        self._size: tuple[int, int] | None = None
        self._full_scale: int | None = None
        self._range_known = False

    def require_one_size(self) -> None:
        """From now on, `images` refuses a file whose header has another size than the first file, before it is
        decoded."""
        if self.files:
            header = read_header(self.files[0])
            self._size = (header.width, header.height)

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        self._find_range()
        for index in range(skip, len(self.files)):
            position = self._positions[index]
            if self._size is not None:
                self._check_size(self.files[index])
            # not kept in a variable, so that two large images are never in memory
            yield DecodedImage(
                position, position / ASSUMED_RATE, *read_layers(self.files[index], full_scale=self._full_scale)
            )

    def originals(self, positions: Sequence[int]) -> Iterator[OriginalImage]:
        """See `StoredSource`."""
        self._find_range()
        for position in positions:
            codes = read_original(self._all_files[position], full_scale=self._full_scale)
            encoding = ColorEncoding("linear" if codes.dtype.kind == "f" else "sdr", bits=8 * codes.dtype.itemsize)
            yield OriginalImage(position, position / ASSUMED_RATE, codes, encoding)

    def frame_name(self, index: int) -> str:
        return str(self.files[index])

    def _check_size(self, file: Path) -> None:
        header = read_header(file)
        if (header.width, header.height) != self._size:
            raise other_size(str(file), (header.width, header.height), self._size)

    def _find_range(self) -> None:
        if self._range_known:
            return
        self._range_known = True
        found = clip_bits(self.files)
        if found is not None:
            bits, largest = found
            self._full_scale = (1 << bits) - 1
            self.description["integer_bits"] = bits
            self.notes = (
                f"{self.title} has 16 bits a value, but uses {bits} (up to {largest} in the whole clip); its values "
                "are scaled by these.",
            )


def other_size(name: str, size: tuple[int, int], expected: tuple[int, int] | None) -> InputError:
    """The error for an image whose size (width, height) is not that of the first one."""
    first = f"{expected[0]}x{expected[1]}" if expected is not None else "another size"
    return InputError(
        f"{name} is {size[0]}x{size[1]} but the first frame is {first}; all frames of a clip must have one size. Bring "
        "them to one, or give images that do not belong together to stillsplat depth --each."
    )


class _TimedFrames:
    """Which frames of a source with positions and times are taken: a range of them, at most so many per second."""

    is_live, is_video = False, True
    ended: str | None = None
    notes: Sequence[str] = ()

    def __init__(
        self, path: Path, chosen: slice = slice(None), rate: float | None = None, max_frames: int | None = None
    ) -> None:
        self._path, self._rate, self._max_frames = path, rate, max_frames
        self._start, self._step = chosen.start or 0, chosen.step or 1
        self._last = None if chosen.stop is None else chosen.stop - 1
        self._positions: list[int] = []
        self.title, self.total, self.selection = str(path), 0, _selection(chosen)
        self.description: dict[str, Any] = {}

    def frame_name(self, index: int) -> str:
        return f"Frame {self._positions[index]} of {self._path}"

    def _wanted(self, position: int) -> bool:
        inside = position >= self._start and (self._last is None or position <= self._last)
        return inside and (position - self._start) % self._step == 0

    def _expect(self, declared: int) -> None:
        if declared and self._rate is None and self._max_frames is None:
            stop = declared if self._last is None else min(declared, self._last + 1)
            self.total = max(0, -(-(stop - self._start) // self._step))

    def _taken(self, images: Iterator[DecodedImage], skip: int) -> Iterator[DecodedImage]:
        next_time = 0.0
        for image in images:
            if self._rate is not None and image.time < next_time - 1e-6:
                continue
            if self._rate is not None:
                next_time = max(next_time + 1.0 / self._rate, image.time)
            self._positions.append(image.position)
            if len(self._positions) > skip:
                yield image
            if self._max_frames is not None and len(self._positions) >= self._max_frames:
                return


class VideoFile(_TimedFrames):
    """A video file. Frames that cannot be decoded are left out and reported in `ended`."""

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        clip = VideoClip(self._path)
        self.notes = clip.notes
        self.description = clip.description()
        if self._last is not None and self._last < self._start:
            return
        frames = clip.images(self._wanted, self._last, lambda done, declared: self._expect(declared))
        yield from self._taken(frames, skip)
        self.ended = clip.damage

    def originals(self, positions: Sequence[int]) -> Iterator[OriginalImage]:
        """See `StoredSource`."""
        wanted = set(positions)
        yield from VideoClip(self._path).originals(wanted.__contains__, max(wanted, default=-1))


class AnimatedImage(_TimedFrames):
    """An animated WebP, PNG or AVIF file."""

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        count = read_header(self._path).count
        self.notes = (f"{self._path} is an animation of {count} images; it is read as a clip.",)
        self.description = {"kind": "animated image"}
        self._expect(count)
        yield from self._taken(self._chosen(), skip)

    def originals(self, positions: Sequence[int]) -> Iterator[OriginalImage]:
        """See `StoredSource`."""
        wanted, last = set(positions), max(positions, default=-1)
        for image in animation_images(self._path):
            if image.position in wanted:
                yield OriginalImage(image.position, image.time, image.pixels, ColorEncoding())
            if image.position >= last:
                return

    def _chosen(self) -> Iterator[DecodedImage]:
        for image in animation_images(self._path):
            if self._last is not None and image.position > self._last:
                return
            if self._wanted(image.position):
                yield image

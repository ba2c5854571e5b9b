"""Where the images of a stream come from: a folder, a video file, a camera or a network stream, one at a time."""

import glob
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scene.errors import InputError
from scene.frames import ASSUMED_RATE, list_images, natural_order
from scene.images import IMAGE_SUFFIXES, read_image
from scene.video import decode_video

#: images per second that are taken from a live source where nothing else is asked for
LIVE_RATE = 5.0
#: a live source that is silent for so many seconds has disappeared
PATIENCE = 10.0


class FrameSource(Protocol):
    """Yields (seconds, uint8 RGB (H, W, 3)). `total` is how many are expected, 0 if that is not known; `ended` says
    after the last one why a source ended before its time, one sentence, or None."""

    title: str
    total: int
    is_live: bool
    ended: str | None

    def images(self, skip: int = 0) -> Iterator[tuple[float, np.ndarray]]:
        """From the first image on, or after `skip` of them (those that an earlier run has; live sources have none to
        skip). May be called once."""
        ...


def open_source(text: str, *, rate: float | None = None, max_frames: int | None = None) -> FrameSource:
    """The source that `text` names: a folder of images, a glob pattern, a video file, the number of a camera ("0"), or
    the address of a network stream ("rtsp://...").

    `rate`: at most so many images per second; None takes all of a file or folder and `LIVE_RATE` of a live source.
    `max_frames` ends the source. Raises `InputError`, one sentence, when there is no such thing.
    """
    if rate is not None and not rate > 0:
        raise InputError(f"--fps must be above 0, not {rate}.")
    if max_frames is not None and max_frames < 1:
        raise InputError(f"--max-frames must be at least 1, not {max_frames}.")
    path = Path(text).expanduser()
    if text.isdigit() and not path.exists():
        return LiveSource(
            f"camera {text}", lambda: _CameraReader(int(text)), rate=rate or LIVE_RATE, max_frames=max_frames
        )
    if "://" in text:
        return LiveSource(text, lambda: _NetworkReader(text), rate=rate or LIVE_RATE, max_frames=max_frames)
    if path.is_dir():
        files = list_images(path)
        if not files:
            raise InputError(f"{path} holds no images; give a folder of images or a video file.")
        return ImageFiles(str(path), files, rate, max_frames)
    if not path.exists() and glob.has_magic(text):
        matches = sorted((Path(match) for match in glob.glob(text, recursive=True)), key=natural_order)
        files = [match for match in matches if match.is_file() and match.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise InputError(f"No image matches {text}; check the pattern.")
        return ImageFiles(text, files, rate, max_frames)
    if not path.exists():
        raise InputError(
            f"{text} does not exist; give a folder, a video, the number of a camera or an rtsp:// address."
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles(text, [path], rate, max_frames)
    return VideoFile(path, rate, max_frames)


class ImageFiles:
    """Image files in the order given; they are taken to come 30 per second."""

    is_live = False

    ended: str | None = None

    def __init__(self, title: str, files: list[Path], rate: float | None, max_frames: int | None) -> None:
        step = 1 if rate is None else max(1, round(ASSUMED_RATE / rate))
        self.files = files[::step][:max_frames]
        self._step = step
        self.title, self.total = title, len(self.files)

    def images(self, skip: int = 0) -> Iterator[tuple[float, np.ndarray]]:
        for index in range(skip, len(self.files)):
            yield index * self._step / ASSUMED_RATE, read_image(self.files[index])


class VideoFile:
    """A video file; what cannot be decoded is left out and told in `ended`."""

    is_live = False
    ended: str | None = None

    def __init__(self, path: Path, rate: float | None, max_frames: int | None) -> None:
        self._path, self._rate, self._max_frames = path, rate, max_frames
        self.title, self.total = str(path), 0

    def images(self, skip: int = 0) -> Iterator[tuple[float, np.ndarray]]:
        def warn(sentence: str) -> None:
            self.ended = sentence

        taken, next_time = 0, 0.0
        for image in decode_video(self._path, lambda position: True, None, warn):
            if self._rate is not None and image.time < next_time - 1e-6:
                continue
            if self._rate is not None:
                next_time = max(next_time + 1.0 / self._rate, image.time)
            taken += 1
            if taken > skip:
                yield image.time, image.pixels
            if self._max_frames is not None and taken >= self._max_frames:
                return


class LiveReader(Protocol):
    """An open camera or connection."""

    def read(self) -> np.ndarray | None:
        """The next image, uint8 RGB (H, W, 3); None when there are no more."""
        ...

    def close(self) -> None: ...


class LiveSource:
    """A camera or network stream. A thread of its own reads, so that the newest image is always at hand while the
    predictor works, and a device that hangs holds nothing up.

    The source ends with `max_frames`, with `stop()`, when the device gives no more images, or when it has been silent
    for `patience` seconds; the latter two are told in `ended`.
    """

    is_live = True
    ended: str | None = None

    def __init__(
        self,
        title: str,
        connect: Callable[[], LiveReader],
        *,
        rate: float = LIVE_RATE,
        max_frames: int | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total = title, max_frames or 0
        self._connect, self._interval, self._max_frames = connect, 1.0 / rate, max_frames
        self._patience, self._clock = patience, clock
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ends the source after the image that is being read."""
        self._stop.set()

    def images(self, skip: int = 0) -> Iterator[tuple[float, np.ndarray]]:
        reader = self._connect()
        newest = _Newest()
        thread = threading.Thread(target=newest.follow, args=(reader, self._stop), daemon=True)
        thread.start()
        begin = self._clock()
        count, last_time = 0, -np.inf
        try:
            while not self._stop.is_set() and (self._max_frames is None or count < self._max_frames):
                image, error = newest.take(self._patience)
                if image is None:
                    if self._stop.is_set():
                        return
                    what = "stopped delivering images" if error is None else f"was lost ({error})"
                    if error == _Newest.SILENT:
                        what = f"has been silent for {self._patience:g} s"
                    if count == 0:
                        raise InputError(f"{self.title} gave no image: it {what}; check that it is on and free.")
                    self.ended = f"{self.title} {what} after {count} frames; what had come was finished."
                    return
                now = self._clock() - begin
                if now - last_time < self._interval:
                    continue
                last_time = now
                count += 1
                yield now, image
        finally:
            self._stop.set()
            thread.join(timeout=1.0)


class _Newest:
    """The newest image of a reader, handed from its thread to ours."""

    SILENT = "silent"

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._image: np.ndarray | None = None
        self._over = False
        self._error: str | None = None

    def follow(self, reader: LiveReader, stop: threading.Event) -> None:
        """Reads until the reader ends, fails or `stop` is set."""
        error = None
        try:
            while not stop.is_set():
                image = reader.read()
                if image is None:
                    break
                with self._changed:
                    self._image = image
                    self._changed.notify()
        except Exception as failure:  # whatever a driver or decoder raises means that the device is gone
            error = str(failure).strip().rstrip(".") or type(failure).__name__
        finally:
            with self._changed:
                self._over, self._error = True, error
                self._changed.notify()
            reader.close()

    def take(self, patience: float) -> tuple[np.ndarray | None, str | None]:
        """The newest image that was not taken yet, waiting for it; (None, why) when there is none."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: self._image is not None or self._over, patience)
            image, self._image = self._image, None
            if image is not None:
                return image, None
            return None, self._error if in_time else self.SILENT


class _CameraReader:
    """A camera of this machine, through OpenCV."""

    def __init__(self, number: int) -> None:
        import cv2

        self._convert = lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise InputError(f"Camera {number} cannot be opened; check that it is plugged in and not in use.")

    def read(self) -> np.ndarray | None:
        good, image = self._capture.read()
        return self._convert(image) if good else None

    def close(self) -> None:
        self._capture.release()


class _NetworkReader:
    """An RTSP, RTMP or HTTP stream, through FFmpeg."""

    def __init__(self, address: str) -> None:
        import av
        import av.error

        options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
        try:
            self._container: Any = av.open(address, options=options, timeout=(PATIENCE, PATIENCE))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{address} cannot be opened ({str(error).strip()}); check the address.") from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"{address} has no image stream; check the address.")
        self._frames = self._container.decode(video=0)

    def read(self) -> np.ndarray | None:
        frame = next(self._frames, None)
        return None if frame is None else frame.to_ndarray(format="rgb24")

    def close(self) -> None:
        self._container.close()

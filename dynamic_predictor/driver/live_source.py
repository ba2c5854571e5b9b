"""Cameras and network streams: read in a thread of their own, through a bounded queue, with a stated rule for drops.

Whatever the reader gives passes two stages. The rate of the source decides which images are *due*; the others are left
out silently. Due images wait in a queue. When it is full, the oldest one gives way and is counted in `dropped`.

policy "latest"  the queue holds one image, and while it waits it is replaced by every newer one: whoever takes an image
                 gets the newest, so that the latency is that of one prediction, however slow the predictor is
policy "all"     the queue holds `WAITING_IMAGES`, for a reader that is not paced by the predictor
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import numpy as np

from dynamic_predictor.driver.settings import LivePolicy
from scene.errors import InputError, first_line
from scene.media.color import DIFFUSE_WHITE, HLG_PEAK, ToneCurve, decoded_display, encoding_of
from scene.media.container import MAX_FRAME_PIXELS
from scene.media.decoding import DecodedImage

#: frames per second that are taken from a live source by default
LIVE_RATE = 5.0
#: timeout in seconds after which a live source without a new frame is considered lost
PATIENCE = 10.0
#: images that wait at most with the policy "all"
WAITING_IMAGES = 8
#: images in a row that a camera may fail to give, and the pause between two attempts in seconds
_CAMERA_FAILURES, _CAMERA_PAUSE = 10, 0.02
#: a stream may lead to other addresses, but not to files of this machine
_PROTOCOLS = "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto,data,rtmp,rtmps,rtmpt,rtmpe,srt,mmsh,mmst"
#: HDR that cannot be measured before it is shown
_TONE_CURVE = ToneCurve(HLG_PEAK / DIFFUSE_WHITE)
#: how often a waiting thread looks whether the source was stopped, in seconds
_LOOK = 0.1


class DamagedFrame(Exception):
    """One image could not be decoded; the next one may be whole again."""


class LiveReader(Protocol):
    """An open camera or connection."""

    def read(self) -> np.ndarray | None:
        """The next image, uint8 RGB (H, W, 3); None when there are no more. Raises `DamagedFrame` for an image that is
        left out, and anything else when the device is lost."""
        ...

    def close(self) -> None: ...


class LiveSource:
    """A camera or network stream. A separate thread reads, so that the newest image is available while the
    predictor works, and a device that hangs does not block it.

    The source ends with `max_frames`, with `stop()`, when the device gives no more images, or when it has given no
    whole image for `patience` seconds; `ended` describes the latter two cases and damaged images.
    """

    is_live, is_video = True, True
    selection = ""
    notes: Sequence[str] = ()
    description: dict[str, Any] = {"kind": "live"}
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
        self._queue: _ImageQueue | None = None
        self._begin = 0.0

    def stop(self) -> None:
        """Ends the source after the image that is being read."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the source has ended or was stopped."""
        return self._stop.is_set()

    @property
    def dropped(self) -> int:
        """How many due images were dropped because nobody took them in time."""
        return self._queue.dropped if self._queue is not None else 0

    def age(self, time: float) -> float:
        """Seconds since the image with this `time` was captured."""
        return self._clock() - self._begin - time

    def frame_name(self, index: int) -> str:
        return f"Frame {index} of {self.title}"

    def images(self, skip: int = 0, *, policy: LivePolicy = "all") -> Generator[DecodedImage, None, None]:
        """Images with the seconds at which they were captured, counted from the moment of the connection. Raises
        `InputError` when there is not a single one."""
        reader = self._connect()
        self._begin = self._clock()
        queue = self._queue = _ImageQueue(1 if policy == "latest" else WAITING_IMAGES)
        work = (reader, self._interval, self._clock, self._stop)
        thread = threading.Thread(target=queue.follow, args=work, daemon=True)
        thread.start()
        count = 0
        try:
            while not self._stop.is_set() and (self._max_frames is None or count < self._max_frames):
                taken = queue.take(self._patience, self._stop)
                if isinstance(taken, str):
                    if count == 0:
                        raise InputError(f"{self.title} gave no image: it {taken}; check that it is on and free.")
                    self.ended = _end(f"{self.title} {taken} after {count} frames", queue.damaged)
                    return
                if taken is None:
                    break
                count += 1
                yield DecodedImage(count - 1, taken[1] - self._begin, taken[0])
            if queue.damaged:
                self.ended = f"{self.title}: {_left_out(queue.damaged)}."
        finally:
            self._stop.set()
            thread.join(timeout=1.0)


def _end(what: str, damaged: int) -> str:
    aside = f" ({_left_out(damaged)})" if damaged else ""
    return f"{what}{aside}; these frames were processed."


def _left_out(count: int) -> str:
    return (
        f"{count} frame{'s' if count != 1 else ''} could not be decoded and {'were' if count != 1 else 'was'} left out"
    )


class _ImageQueue:
    """Images on their way from the thread of a reader to that of a taker; see the module."""

    def __init__(self, capacity: int) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[np.ndarray, float]] = deque()
        self._capacity = capacity
        self._end: str | None = None
        self.dropped = 0
        #: images that could not be decoded, up to the last whole one
        self.damaged = 0

    def follow(self, reader: LiveReader, interval: float, clock: Callable[[], float], stop: threading.Event) -> None:
        """Reads until the reader ends, fails or `stop` is set. An image is due when `interval` seconds have passed
        since the one before was."""
        end, damaged, next_due = "stopped delivering images", 0, -np.inf
        try:
            while not stop.is_set():
                try:
                    image = reader.read()
                except DamagedFrame:
                    damaged += 1
                    continue
                if image is None:
                    break
                now = clock()
                is_due = now >= next_due
                if is_due:
                    # a camera whose rate is no multiple of the wanted one keeps the wanted one on average
                    next_due = next_due + interval if now - next_due < interval else now + interval
                self.damaged, damaged = self.damaged + damaged, 0
                self._put(image, now, is_due)
        except Exception as failure:  # any exception of a driver or decoder means that the device is lost
            end = f"was lost ({first_line(failure)})"
        finally:
            with self._changed:
                self._end = end
                self._changed.notify()
            reader.close()

    def _put(self, image: np.ndarray, captured: float, is_due: bool) -> None:
        with self._changed:
            if is_due:
                if len(self._waiting) == self._capacity:
                    self._waiting.popleft()
                    self.dropped += 1
                self._waiting.append((image, captured))
                self._changed.notify()
            elif self._capacity == 1 and self._waiting:
                self._waiting[0] = (image, captured)

    def take(self, patience: float, stop: threading.Event) -> tuple[np.ndarray, float] | str | None:
        """The next image with the time of its capture, waiting for it; why there is none; or None after `stop`."""
        deadline = time.monotonic() + patience
        with self._changed:
            while not self._waiting and self._end is None:
                if stop.is_set():
                    return None
                left = deadline - time.monotonic()
                if left <= 0:
                    return f"has been silent for {patience:g} s"
                self._changed.wait(min(left, _LOOK))
            return self._waiting.popleft() if self._waiting else None if stop.is_set() else self._end


class CameraReader:
    """A camera of this machine, through OpenCV."""

    def __init__(self, number: int) -> None:
        import cv2

        self._convert = lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        self._capture = cv2.VideoCapture(number)
        self._failures = 0
        if not self._capture.isOpened():
            raise InputError(f"Camera {number} cannot be opened; check that it is plugged in and not in use.")

    def read(self) -> np.ndarray | None:
        good, image = self._capture.read()
        if good:
            self._failures = 0
            return self._convert(image)
        self._failures += 1
        if self._failures >= _CAMERA_FAILURES:
            return None
        time.sleep(_CAMERA_PAUSE)
        raise DamagedFrame

    def close(self) -> None:
        self._capture.release()


class NetworkReader:
    """An RTSP, RTMP or HTTP stream, through FFmpeg. A packet that cannot be decoded is a damaged frame."""

    def __init__(self, address: str) -> None:
        import av
        import av.error

        self._damage = (av.error.InvalidDataError,)
        # a file behind http is read as a stream as well, without looking for its end first
        options = {"rtsp": {"rtsp_transport": "tcp"}, "http": {"seekable": "0"}}.get(address[:4], {})
        options = {**options, "protocol_whitelist": _PROTOCOLS, "max_pixels": str(MAX_FRAME_PIXELS)}
        try:
            self._container: Any = av.open(address, options=options, timeout=(PATIENCE, PATIENCE))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{address} cannot be opened ({str(error).strip()}); check the address.") from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"{address} has no video stream; check the address.")
        self._packets = self._container.demux(video=0)
        self._decoded: deque[Any] = deque()
        self._context, self._encoding = self._container.streams.video[0].codec_context, None

    def read(self) -> np.ndarray | None:
        while not self._decoded:
            packet = next(self._packets, None)
            if packet is None:
                return None
            try:
                self._decoded.extend(packet.decode())
            except EOFError:
                return None
            except self._damage:
                raise DamagedFrame from None
        frame = self._decoded.popleft()
        if frame.is_corrupt:
            raise DamagedFrame
        if self._encoding is None:
            self._encoding, _ = encoding_of(frame, self._context)
        return decoded_display(frame, self._encoding, _TONE_CURVE)

    def close(self) -> None:
        self._container.close()

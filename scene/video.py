"""Video files, in and out: images one at a time with their times, and H.264 that plays everywhere."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.frames import Frames


@dataclass
class DecodedImage:
    """One decoded frame of a video: `position` counts all frames of the stream, `time` is in seconds from the first."""

    position: int
    time: float
    pixels: np.ndarray  #: uint8 RGB (H, W, 3), upright, square pixels
    #: uint8 (H, W), 255 = observed, 0 = transparent; None: all is observed (`scene.observed`)
    observed: np.ndarray | None = None


def decode_video(
    path: str | Path,
    wanted: Callable[[int], bool],
    last_wanted: int | None,
    warn: Callable[[str], None],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[DecodedImage]:
    """Yields the frames of the first video stream whose position is `wanted`, in order of display, decoding one by one.

    Rotation and pixel-aspect metadata are applied. Decoding stops after `last_wanted`, if given. `warn` receives one
    sentence on damaged frames, `report` (position, declared count). Raises `InputError` without a readable video.
    """
    path = Path(path)
    try:
        container = av.open(str(path), metadata_errors="replace")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video that can be decoded ({_plain(error)}); it is damaged, cut off or of another kind."
        ) from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no video stream; give a file with one.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        declared = stream.frames
        rate = stream.average_rate or stream.guessed_rate or Fraction(30)
        interval = float(1 / rate) if rate > 0 else 1 / 30.0
        position, damaged, first_time, previous_time = 0, 0, None, -np.inf
        for frame in _frames(container, stream):
            if frame is None:
                damaged += 1
                continue
            if frame.is_corrupt:
                damaged += 1
                position += 1
                continue
            time = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
            if time is not None and first_time is None:
                first_time = time - max(0, position) * interval if position else time
            elapsed = time - first_time if time is not None and first_time is not None else position * interval
            if elapsed <= previous_time:
                elapsed = previous_time + interval
            previous_time = elapsed
            if wanted(position):
                yield DecodedImage(position, elapsed, _upright_pixels(frame, stream.sample_aspect_ratio))
            report(position + 1, declared)
            position += 1
            if last_wanted is not None and position > last_wanted:
                break
        else:
            missing = declared - position
            if not declared and first_time is not None:
                end = first_time + previous_time + interval
                missing = round((_promised_seconds(container, stream) - end) / interval)
            if missing <= 1:  # many files that are not damaged end one frame early
                missing = 0
            if damaged or missing:
                lost = max(damaged, missing)
                warn(
                    f"{path} is damaged: {lost} frame{'s' if lost != 1 else ''} could not be decoded and "
                    f"{'were' if lost != 1 else 'was'} left out."
                )


def _frames(container: InputContainer, stream: "av.VideoStream") -> Iterator["av.VideoFrame | None"]:
    """Decoded frames; None for a packet that cannot be decoded. Ends at the first error of the container itself."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError):
            yield None
            try:
                yield from stream.decode(None)
            except (av.error.FFmpegError, OSError):
                pass
            return
        try:
            yield from packet.decode()  # type: ignore[misc]
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError):
            yield None


def _promised_seconds(container: InputContainer, stream: "av.VideoStream") -> float:
    """How long the images should last, for containers that do not count frames; 0 when that is not known."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return 0.0


def _upright_pixels(frame: "av.VideoFrame", aspect: Fraction | None) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    if aspect and aspect > 0 and aspect != 1 and Fraction(1, 4) < aspect < 4:
        # Pixels that are not square would give the camera two focal lengths.
        width = max(1, round(pixels.shape[1] * float(aspect)))
        pixels = cv2.resize(pixels, (width, pixels.shape[0]), interpolation=cv2.INTER_AREA if aspect < 1 else 2)
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def _plain(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").lower()


def frame_rate(frames: Frames) -> float:
    """Frames per second by the frames' own times, between 1 and 120; 30 where they have none."""
    times = list(frames.timestamps)
    length = times[-1] - times[0] if len(times) > 1 else 0.0
    return float(np.clip((len(times) - 1) / length, 1.0, 120.0)) if length > 0 else 30.0


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, *, quality: int = 18) -> None:
    """Writes uint8 RGB images (H, W, 3), all of one size, as H.264 in an MP4 that every player opens.

    yuv420p, BT.709, limited range, index at the front. Odd sizes are padded by one row or column that repeats the edge.
    `quality` is x264's constant rate factor: smaller is better, 18 looks lossless. The file appears whole or not at
    all. Raises `InputError` when there is nothing to write or the place cannot be written to.
    """
    path = Path(path)
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise InputError(f"There are no images to write to {path}.")
    height, width = first.shape[:2]
    even_height, even_width = height + height % 2, width + width % 2
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise InputError(f"A video cannot have {fps} frames per second; give a positive number.")
    with atomic_file(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
                options = {"crf": str(quality), "preset": "medium"}
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.width, stream.height, stream.pix_fmt = even_width, even_height, "yuv420p"
                context = stream.codec_context
                context.colorspace, context.color_range = 1, 1  # BT.709, limited
                context.color_primaries, context.color_trc = 1, 1
                for index, image in enumerate(chain([first], images)):
                    if image.shape != (height, width, 3) or image.dtype != np.uint8:
                        raise ValueError(
                            f"image {index} is {image.dtype} {image.shape}, not uint8 ({height}, {width}, 3)"
                        )
                    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
                    frame = frame.reformat(
                        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                    )
                    frame.pts, frame.time_base = index, 1 / rate
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise OSError(error.errno, _plain(error)) from error
            raise

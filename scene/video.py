"""Writes videos: H.264 that plays everywhere. `scene.media.decoding` reads them."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.paths import name_for_library
from scene.frames import Frames
from scene.media.container import plain_error


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
    with atomic_file(path) as temporary, name_for_library(temporary) as name:
        try:
            with av.open(name, "w", format="mp4", options={"movflags": "+faststart"}) as container:
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
                raise OSError(error.errno, plain_error(error)) from error
            raise

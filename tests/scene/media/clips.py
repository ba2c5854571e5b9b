"""Videos written without the code under test: any codec, color tags, fields, tracks and times."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def textured(count: int, width: int = 160, height: int = 120, step: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Images uint8 RGB of one texture that moves `step` pixels a frame: fine in brightness, coarse and pale in color,
    so that halved chroma loses little."""
    rng = np.random.default_rng(seed)
    wide = width + step * count
    gray = _smooth(rng.uniform(30, 225, (height // 6 + 2, wide // 6 + 2, 1)), height, wide)
    color = _smooth(rng.uniform(-30, 30, (height // 40 + 2, wide // 40 + 2, 3)), height, wide)
    image = np.clip(gray + color, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(image[:, index * step : index * step + width]) for index in range(count)]


def _smooth(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    values = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return values.reshape(height, width, -1)


def write_clip(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    format_in: str = "rgb24",
    rate: int = 24,
    times: Sequence[int] | None = None,
    tags: dict[str, int] | None = None,
    matrix: int | None = None,
    full_range: bool = False,
    audio_seconds: float = 0.0,
    cover_first: bool = False,
    container_format: str | None = None,
    **options: str,
) -> Path:
    """Writes `images`. `times` are in milliseconds; `tags` are fields of the codec context; `matrix` and `full_range`
    say how RGB becomes YUV."""
    with av.open(str(path), "w", format=container_format) as container:
        if cover_first:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        sound = container.add_stream("aac", rate=44100) if audio_seconds else None
        if cover_first:
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            container.mux(cover.encode(picture.reformat(format="yuvj420p")))
            container.mux(cover.encode(None))
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format=format_in)
            frame = frame.reformat(
                format=pix_fmt, dst_colorspace=matrix, dst_color_range=2 if full_range else 1, interpolation="BICUBIC"
            )
            frame.pts = index if times is None else times[index]
            frame.time_base = Fraction(1, rate if times is None else 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for index in range(int(audio_seconds * 44100 / 1024)):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 44100, index * 1024
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    return path


def copy_part(source: Path, target: Path, first_packet: int, shift_to: float = 0.0, **container_options: str) -> Path:
    """Copies the packets of the video from number `first_packet` on, without decoding, as `ffmpeg -c copy` does; the
    first of them gets the time `shift_to` in seconds, and what lies before 0 is hidden by an edit list where there are
    such."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=container_options) as container:
        stream = given.streams.video[0]
        copy = container.add_stream_from_template(stream)
        offset = None
        for number, packet in enumerate(given.demux(stream)):
            if packet.dts is None or number < first_packet:
                continue
            if offset is None:
                offset = packet.pts - round(shift_to / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
            container.mux(packet)
    return target


def psnr(images: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(images, truth, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))

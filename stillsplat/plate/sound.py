"""Puts the sound of a clip to the video of its plate."""

from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.media.container import open_container

#: codecs that MP4 players know; others are encoded anew
_KNOWN = {"aac", "mp3", "ac3", "eac3", "alac", "opus"}


def add_sound(video: Path, clip: Path, start: float, seconds: float) -> bool:
    """Adds the sound of `clip` from `start` on, `seconds` long, to the MP4 `video`, whose pictures are not encoded
    again. Returns whether there was any; without sound the file stays as it is."""
    try:
        with open_container(clip) as source:
            if not source.streams.audio:
                return False
            with atomic_file(video) as temporary:
                _join(video, source, temporary, start, seconds)
            return True
    except (av.error.FFmpegError, ValueError, InputError):
        return False


def _join(video: Path, source: InputContainer, path: Path, start: float, seconds: float) -> None:
    audio = source.streams.audio[0]
    with (
        av.open(str(video)) as pictures,
        av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as joined,
    ):
        shown = joined.add_stream_from_template(pictures.streams.video[0])
        copies = audio.codec_context.name.split("_")[0] in _KNOWN
        heard = joined.add_stream_from_template(audio) if copies else joined.add_stream("aac", rate=audio.rate or 48000)
        for packet in pictures.demux(video=0):
            if packet.dts is not None:
                packet.stream = shown
                joined.mux(packet)
        begin = source.streams.video[0].start_time
        base = source.streams.video[0].time_base
        offset = start + (float(begin * base) if begin is not None and base is not None else 0.0)
        if copies:
            for packet in source.demux(audio):
                time = _time(packet.pts, packet.time_base)
                if packet.dts is None or time is None or not offset <= time < offset + seconds:
                    continue
                assert packet.time_base is not None
                shift = round(offset / packet.time_base)
                packet.pts, packet.dts = (packet.pts or 0) - shift, packet.dts - shift
                packet.stream = heard
                joined.mux(packet)
            return
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=heard.rate)
        written = 0
        for frame in source.decode(audio):
            time = _time(frame.pts, frame.time_base)
            if time is None or not offset <= time < offset + seconds:
                continue
            frame.pts = None
            for part in resampler.resample(frame):
                part.pts, part.time_base = written, Fraction(1, heard.rate)
                written += part.samples
                joined.mux(heard.encode(part))
        joined.mux(heard.encode(None))


def _time(pts: int | None, base: Fraction | None) -> float | None:
    return None if pts is None or base is None else float(pts * base)

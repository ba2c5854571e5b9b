"""The video of a plate has the sound of its clip, from where its frames are."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from scene.video import write_video
from stillsplat.plate.sound import add_sound

RATE = 16000


def clip_with_sound(path: Path, codec: str = "aac") -> None:
    """Two seconds: silence, then a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4" if path.suffix == ".mp4" else "libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=RATE)
        audio.layout = "mono"  # type: ignore[misc]
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(2 * RATE) * 2 * np.pi * 440 / RATE) * (np.arange(2 * RATE) >= RATE)
        for start in range(0, 2 * RATE, 1024):
            samples = tone[start : start + 1024].astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
            if audio.format.name != "fltp":
                sound = av.AudioResampler(audio.format.name, "mono", RATE).resample(sound)[0]
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def loudness(path: Path) -> tuple[float, float, float]:
    """Seconds of sound, and loudness of its first and last third."""
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    values = np.concatenate(parts)
    third = len(values) // 3
    return len(values) / rate, float(np.abs(values[:third]).mean()), float(np.abs(values[-third:]).mean())


@pytest.mark.parametrize("name, codec", [("clip.mp4", "aac"), ("clip.mkv", "pcm_s16le")])
def test_the_part_of_the_frames(tmp_path: Path, name: str, codec: str) -> None:
    clip_with_sound(tmp_path / name, codec)
    images = [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(10)]
    for start, silent_first in ((0.5, True), (1.0, False)):
        write_video(tmp_path / "plate.mp4", images, 10)
        assert add_sound(tmp_path / "plate.mp4", tmp_path / name, start, 1.0)
        seconds, first, last = loudness(tmp_path / "plate.mp4")
        assert abs(seconds - 1.0) < 0.15 and last > 0.1 and (first < 0.05) == silent_first
        with av.open(str(tmp_path / "plate.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == 10


def test_without_sound_the_video_stays(tmp_path: Path) -> None:
    images = [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(4)]
    write_video(tmp_path / "silent.mp4", images, 10)
    write_video(tmp_path / "plate.mp4", images, 10)
    before = (tmp_path / "plate.mp4").read_bytes()
    assert not add_sound(tmp_path / "plate.mp4", tmp_path / "silent.mp4", 0.0, 1.0)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert not add_sound(tmp_path / "plate.mp4", tmp_path / "no.mp4", 0.0, 1.0)
    assert (tmp_path / "plate.mp4").read_bytes() == before

"""Videos that we write: every player's format, true colors, whole or not at all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from scene.errors import InputError
from scene.video import write_video

Panning = Callable[..., list[np.ndarray]]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_format_that_plays_everywhere(tmp_path: Path, panning: Panning) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, panning(10), 24)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 24 and stream.frames == 10
        assert (stream.width, stream.height) == (96, 64)
        assert stream.codec_context.profile in ("Baseline", "Constrained Baseline", "Main", "High")
        context = stream.codec_context
        assert context.colorspace == context.color_primaries == context.color_trc == context.color_range == 1
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # starts to play before it is loaded


def test_images_come_back(tmp_path: Path, panning: Panning) -> None:
    images = panning(10)
    write_video(tmp_path / "clip.mp4", images, 30)
    for before, after in zip(images, decoded(tmp_path / "clip.mp4"), strict=True):
        assert np.abs(before.astype(int) - after).mean() < 3.5
        assert np.abs((before.astype(int) - after).mean(axis=(0, 1))).max() < 2


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)])
def test_colors_are_true(tmp_path: Path, color: tuple[int, int, int]) -> None:
    image = np.full((64, 64, 3), color, np.uint8)
    write_video(tmp_path / "clip.mp4", [image] * 3, 30)
    assert np.abs(decoded(tmp_path / "clip.mp4")[1].astype(int) - image).max() <= 2


def test_odd_sizes_repeat_the_edge(tmp_path: Path) -> None:
    image = np.zeros((63, 95, 3), np.uint8)
    image[:, -1], image[-1] = 255, 255
    write_video(tmp_path / "clip.mp4", [image] * 2, 30, quality=1)
    padded = decoded(tmp_path / "clip.mp4")[0]
    assert padded.shape == (64, 96, 3)
    assert padded[:, -1].min() > 230 and padded[-1].min() > 230
    assert padded[:60, :90].max() < 25


@pytest.mark.parametrize("rate", [15, 23.976, 29.97, 60])
def test_rates(tmp_path: Path, panning: Panning, rate: float) -> None:
    write_video(tmp_path / "clip.mp4", panning(5), rate)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert np.allclose(np.diff(times), 1 / rate, atol=2e-4)


def test_frames_are_taken_one_by_one(tmp_path: Path, panning: Panning) -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for index, image in enumerate(panning(5)):
            taken.append(index)
            yield image

    write_video(tmp_path / "clip.mp4", images(), 30)
    assert taken == [0, 1, 2, 3, 4] and len(decoded(tmp_path / "clip.mp4")) == 5


def test_nothing_half_written(tmp_path: Path, panning: Panning) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, panning(3), 30)
    before = path.read_bytes()

    def interrupted() -> Iterator[np.ndarray]:
        yield from panning(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, interrupted(), 30)
    with pytest.raises(ValueError, match="image 1"):
        write_video(path, [panning(1)[0], np.zeros((3, 3, 3), np.uint8)], 30)
    with pytest.raises(InputError, match="no images"):
        write_video(path, [], 30)
    with pytest.raises(InputError, match="positive"):
        write_video(path, panning(2), 0)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["clip.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path, panning: Panning, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own error, from a real refusal to write."""
    open_container = av.open

    def on_a_full_disk(_: str, *arguments: object, **options: object) -> object:
        options.pop("options", None)  # moving the index to the front would need to read
        return open_container("/dev/full", *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(av, "open", on_a_full_disk)
    with pytest.raises(InputError, match="clip.mp4 cannot be written"):
        write_video(tmp_path / "clip.mp4", panning(20), 30)
    assert os.listdir(tmp_path) == []

"""Interlaced clips are recognized and made whole; others are left as they are."""

from pathlib import Path

import numpy as np
import pytest

from scene.media.decoding import VideoClip
from tests.scene.media.clips import psnr, textured, write_clip


def woven(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    image = upper.copy()
    image[1::2] = lower[1::2]
    return image


def read(path: Path) -> tuple[VideoClip, list[np.ndarray]]:
    clip = VideoClip(path)
    return clip, [image.pixels for image in clip.images(lambda position: True)]


@pytest.mark.parametrize("order", ["top", "bottom"])
@pytest.mark.parametrize("flagged", [False, True])
def test_evident_fields_are_made_whole(tmp_path: Path, order: str, flagged: bool) -> None:
    moments = textured(25)
    pairs = list(zip(moments, moments[1:], strict=False))
    images = [woven(first, second) if order == "top" else woven(second, first) for first, second in pairs]
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1" if order == "top" else "bff=1"} if flagged else {}
    path = write_clip(tmp_path / "fields.mp4", images, crf="8", **options)
    clip, shown = read(path)
    assert (clip.fields.kind, clip.fields.order) == ("interlaced", order)
    assert "interlaced" in clip.notes[0] and len(shown) == 24
    assert psnr(shown[2:-2], moments[2:22]) > psnr(images[2:-2], moments[2:22]) + 6


def test_film_in_fields_is_put_together_again(tmp_path: Path) -> None:
    film = textured(24)
    fields = [image for index, image in enumerate(film) for image in [image] * (2 if index % 2 == 0 else 3)]
    images = [woven(fields[index], fields[index + 1]) for index in range(0, len(fields) - 1, 2)]
    clip, shown = read(write_clip(tmp_path / "film.mp4", images, rate=30, crf="8"))
    assert clip.fields.kind == "pulldown" and "3:2" in clip.notes[0]
    assert len(images) == 30 and len(shown) == 24
    assert psnr(shown, film) > 32


@pytest.mark.parametrize("kind", ["moving", "still", "tilting", "noise"])
def test_whole_pictures_are_left_alone(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    images = {
        "moving": textured(24, step=5),
        "still": [textured(1)[0]] * 24,
        "tilting": [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in textured(24, step=4)],
        "noise": [rng.integers(0, 255, (120, 160, 3), dtype=np.uint8) for _ in range(24)],
    }[kind]  # fmt: skip
    clip, shown = read(write_clip(tmp_path / "whole.mp4", images, crf="8"))
    assert clip.fields.kind == "progressive" and clip.notes == [] and len(shown) == 24


def test_whole_pictures_that_are_flagged_as_fields_are_left_alone(tmp_path: Path) -> None:
    """Progressive pictures in an interlaced stream (PsF), as many cameras write them."""
    images = textured(20)
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    clip, shown = read(write_clip(tmp_path / "psf.mp4", images, crf="8", **options))
    assert clip.fields.kind == "progressive"
    assert psnr(shown, images) > 34


def test_fields_at_rest_are_believed_by_their_flags(tmp_path: Path) -> None:
    options = {"flags": "+ildct+ilme", "x264-params": "bff=1"}
    clip, _ = read(write_clip(tmp_path / "rest.mp4", [textured(1)[0]] * 12, crf="8", **options))
    assert clip.fields.by_flags_only and clip.fields.order == "bottom"
    assert "marked as interlaced" in clip.notes[0]


def test_positions_and_ranges_stay(tmp_path: Path) -> None:
    moments = textured(25)
    images = [woven(first, second) for first, second in zip(moments, moments[1:], strict=False)]
    clip = VideoClip(write_clip(tmp_path / "fields.mp4", images, crf="8"))
    whole = list(clip.images(lambda position: True))
    part = list(clip.images(lambda position: 5 <= position <= 7, 7))
    assert [image.position for image in part] == [5, 6, 7]
    for image in part:
        assert np.array_equal(image.pixels, whole[image.position].pixels) and image.time == whole[image.position].time

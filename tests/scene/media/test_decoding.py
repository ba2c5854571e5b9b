"""Good files that look odd are read whole; files that are cut off or broken inside are said to be so."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.media.decoding import DecodedImage, VideoClip
from tests.scene.media.clips import copy_part, psnr, textured, write_clip


def read(path: Path) -> tuple[VideoClip, list[DecodedImage]]:
    clip = VideoClip(path)
    return clip, list(clip.images(lambda position: True))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames in groups of ten, with frames that refer to later ones."""
    folder = tmp_path_factory.mktemp("source")
    return write_clip(folder / "source.mp4", textured(40), g="10", bf="2", crf="10")


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_an_edit_list_hides_the_lead_in(tmp_path: Path, source: Path, suffix: str) -> None:
    """As phones and `ffmpeg -ss -c copy` trim: the file declares 40 frames and shows 28."""
    path = copy_part(source, tmp_path / f"trimmed.{suffix}", 0, -0.5, avoid_negative_ts="disabled")
    clip, images = read(path)
    assert clip.declared == 40 and len(images) == 28 and clip.damage is None and clip.notes == []
    assert psnr([image.pixels for image in images], textured(40)[12:]) > 34


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_cut_without_decoding_loses_only_what_cannot_be_decoded(tmp_path: Path, source: Path, suffix: str) -> None:
    clip, images = read(copy_part(source, tmp_path / f"cut.{suffix}", 5))
    assert len(images) == 30 and clip.damage is None and images[0].position == 0
    assert psnr([image.pixels for image in images], textured(40)[10:]) > 34


def test_frames_before_the_first_key_frame_are_never_shown(tmp_path: Path) -> None:
    """MPEG-4 part 2 decodes them into gray garbage without a word."""
    path = write_clip(tmp_path / "whole.avi", textured(40), codec="mpeg4", g="10", bf="0", qscale="2", flags="+qscale")
    clip, images = read(copy_part(path, tmp_path / "cut.avi", 5))
    assert clip.damage is None and len(images) in (29, 30)
    assert psnr([image.pixels for image in images], textured(40)[40 - len(images) :]) > 28


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("wmv", "wmv2")])
def test_sound_that_lasts_longer(tmp_path: Path, suffix: str, codec: str) -> None:
    clip, images = read(write_clip(tmp_path / f"clip.{suffix}", textured(12), codec=codec, audio_seconds=3.0))
    assert len(images) == 12 and clip.damage is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_last_frame_that_is_held(tmp_path: Path, suffix: str) -> None:
    times = [*range(0, 440, 40), 8000]
    clip, images = read(write_clip(tmp_path / f"held.{suffix}", textured(12), times=times))
    assert clip.damage is None and [round(image.time, 2) for image in images][-2:] == [0.4, 8.0]


def test_frames_at_uneven_times(tmp_path: Path) -> None:
    times = [0, 17, 90, 91, 400, 420, 421, 1000]
    clip, images = read(write_clip(tmp_path / "uneven.mkv", textured(8), times=times))
    assert clip.damage is None and [round(image.time * 1000) for image in images] == times


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_cover_picture_is_not_the_clip(tmp_path: Path, suffix: str) -> None:
    clip, images = read(write_clip(tmp_path / f"cover.{suffix}", textured(12), cover_first=True))
    assert len(images) == 12 and images[0].pixels.shape == (120, 160, 3) and clip.damage is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm"])
def test_files_that_are_cut_off_are_said_to_be(tmp_path: Path, suffix: str) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx-vp9"}.get(suffix, "libx264")
    path = write_clip(tmp_path / f"clip.{suffix}", textured(40), codec=codec, g="10")
    if suffix == "mp4":  # with its index in front of the pictures
        path = copy_part(path, tmp_path / "fast.mp4", 0, movflags="+faststart")
    clip, images = read(path)
    assert len(images) == 40 and clip.damage is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    clip, images = read(path)
    assert 0 < len(images) < 40 and clip.damage is not None and "damaged" in clip.damage


def test_alpha_of_video_is_what_was_observed(tmp_path: Path) -> None:
    images = [np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]) for image in textured(3)]
    for image in images:
        image[:40, :, 3] = 0
    path = write_clip(tmp_path / "cut out.mov", images, codec="prores_ks", pix_fmt="yuva444p10le", format_in="rgba")
    observed = read(path)[1][1].observed
    assert observed is not None and (observed[:38] == 0).all() and (observed[42:] == 255).all()
    empty = [np.dstack([image, np.zeros(image.shape[:2], np.uint8)]) for image in textured(3)]
    path = write_clip(tmp_path / "unset.mov", empty, codec="png", pix_fmt="rgba", format_in="rgba")
    assert read(path)[1][0].observed is None


def test_sixteen_bit_video_that_uses_twelve(tmp_path: Path) -> None:
    deep = [(image[..., 0].astype(np.uint16) * 16) for image in textured(4)]
    path = write_clip(tmp_path / "deep.mkv", deep, codec="ffv1", pix_fmt="gray16le", format_in="gray16le")
    clip, images = read(path)
    assert "uses 12" in clip.notes[0] and clip.encoding.bits == 12
    expected = np.rint(deep[1] * (255 / 4095))
    assert np.abs(images[1].pixels[..., 0] - expected).max() <= 1
    full = [image[..., 0].astype(np.uint16) * 257 for image in textured(4)]
    path = write_clip(tmp_path / "full.mkv", full, codec="ffv1", pix_fmt="gray16le", format_in="gray16le")
    clip, images = read(path)
    assert clip.notes == [] and np.abs(images[1].pixels[..., 0].astype(int) - textured(4)[1][..., 0]).max() <= 1


def test_originals_are_the_frames_as_they_are_coded(tmp_path: Path) -> None:
    images = textured(5)
    path = write_clip(tmp_path / "exact.mkv", images, codec="ffv1", pix_fmt="bgr0")
    originals = list(VideoClip(path).originals({1, 4}.__contains__, 4))
    assert [original.position for original in originals] == [1, 4]
    assert all(np.array_equal(original.codes, images[original.position]) for original in originals)


def test_a_name_with_a_colon_a_percent_sign_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "plain.mp4", textured(3))
    for name in ("12:30 100%d [x].mp4", "a\udcff.mp4"):
        try:
            odd = path.rename(tmp_path / name)
        except OSError:
            pytest.skip("this file system has only names in Unicode")
        assert len(read(odd)[1]) == 3
        path = odd


def test_text_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("This is a text.\n" * 100)
    with pytest.raises(InputError, match="not a video"):
        VideoClip(path)

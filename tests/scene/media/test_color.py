"""Colors of video against formulas of the standards, written down here a second time and in the other direction."""

from pathlib import Path

import numpy as np
import pytest

from scene.media.color import ColorEncoding, Light, ToneCurve, display_rgb, linear_rec709
from scene.media.decoding import VideoClip
from tests.scene.media.clips import psnr, textured, write_clip

#: ITU-R BT.2087, from BT.709 to BT.2020
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])


def light_of_srgb(image: np.ndarray) -> np.ndarray:
    code = image / 255.0
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def hlg_code(light: np.ndarray) -> np.ndarray:
    """Display light in BT.2020, 1 = 203 cd/m2, as an HLG camera would have coded it for a display of 1000 cd/m2."""
    display = light * 0.203
    luminance = np.maximum(display @ LUMINANCE, 1e-9)[..., None]
    scene = display * luminance ** ((1 - 1.2) / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def pq_code(light: np.ndarray) -> np.ndarray:
    power = (light * 203 / 10000) ** (2610 / 16384)
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def wide_code(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


HDR = {"hlg": (hlg_code, 18), "pq": (pq_code, 16)}


@pytest.mark.parametrize("transfer", HDR)
@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx265", "yuv420p10le"), ("libx265", "yuv422p10le")])
def test_hdr_video_looks_like_the_standard_picture(tmp_path: Path, transfer: str, codec: str, pix_fmt: str) -> None:
    images = textured(4)
    code, tag = HDR[transfer]
    coded = [np.rint(code(light_of_srgb(image) @ TO_BT2020.T) * 65535).astype(np.uint16) for image in images]
    tags = {"color_trc": tag, "color_primaries": 9, "colorspace": 9, "color_range": 1}
    options = {"crf": "12", "x265-params": "log-level=error"}
    path = write_clip(
        tmp_path / "hdr.mp4", coded, codec=codec, pix_fmt=pix_fmt, format_in="rgb48le", tags=tags, matrix=9, **options
    )
    clip = VideoClip(path)
    shown = [image.pixels for image in clip.images(lambda position: True)]
    assert psnr(shown, images) > 36
    assert clip.notes and "HDR" in clip.notes[0] and clip.encoding.bits == 10
    original = next(clip.originals(lambda position: position == 2))
    assert original.codes.dtype == np.uint16 and original.position == 2
    light = linear_rec709(original.codes, original.encoding)
    assert np.abs(light - light_of_srgb(images[2])).mean() < 0.015


@pytest.mark.parametrize(("tag", "matrix"), [(1, 1), (6, 5), (5, 5), (2, 5)])
@pytest.mark.parametrize("full_range", [False, True])
def test_standard_video_of_every_matrix_and_range(tmp_path: Path, tag: int, matrix: int, full_range: bool) -> None:
    images = textured(3)
    tags = {"colorspace": tag, "color_range": 2 if full_range else 1}
    path = write_clip(tmp_path / "sdr.mp4", images, tags=tags, matrix=matrix, full_range=full_range, crf="8")
    clip = VideoClip(path)
    assert psnr([image.pixels for image in clip.images(lambda position: True)], images) > 34
    assert clip.notes == []


def test_large_pictures_without_a_matrix_are_bt709(tmp_path: Path) -> None:
    images = textured(2, 1280, 720)
    path = write_clip(tmp_path / "hd.mp4", images, tags={"color_range": 1}, matrix=1, crf="8")
    assert psnr([image.pixels for image in VideoClip(path).images(lambda position: True)], images) > 34


def test_wide_primaries_of_standard_video(tmp_path: Path) -> None:
    images = textured(3)
    coded = [np.rint(wide_code(light_of_srgb(image) @ TO_BT2020.T) * 65535).astype(np.uint16) for image in images]
    tags = {"color_trc": 14, "color_primaries": 9, "colorspace": 9, "color_range": 1}
    options = {"crf": "10", "x265-params": "log-level=error"}
    path = write_clip(
        tmp_path / "wide.mp4", coded, codec="libx265", pix_fmt="yuv420p10le", format_in="rgb48le", tags=tags, matrix=9,
        **options,
    )  # fmt: skip
    clip = VideoClip(path)
    assert psnr([image.pixels for image in clip.images(lambda position: True)], images) > 34
    assert "BT.2020" in clip.notes[0]


@pytest.mark.parametrize("transfer", HDR)
def test_anchors_of_the_standards(transfer: str) -> None:
    """HLG 75 % and PQ 58 % are diffuse white (BT.2408, table 1), to the rounding of that table."""
    code = {"hlg": 0.75, "pq": 0.5807}[transfer]
    encoding = ColorEncoding(transfer, "bt2020")  # type: ignore[arg-type]
    white = np.full((1, 1, 3), code, np.float32)
    assert np.allclose(linear_rec709(white, encoding), 1.0, atol=0.01)
    same = linear_rec709(np.rint(white * 65535).astype(np.uint16), encoding)
    assert np.allclose(same, 1.0, atol=0.01)


def test_highlights_are_compressed_only_where_there_are_some() -> None:
    light = np.linspace(0, 4.9, 200)[:, None].repeat(3, axis=1)
    plain = ToneCurve.of_lights([Light(1.2, 1.6), Light(0.5, 0.9)])
    assert np.array_equal(plain(light), np.minimum(light, 1.0))
    bent = ToneCurve.of_lights([Light(1.2, 1.6), Light(3.0, 4.9)])(light)
    assert (np.diff(bent[:, 0]) > 0).all() and bent.max() == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(bent[light[:, 0] < 0.8], light[light[:, 0] < 0.8])


def test_hues_of_highlights_stay() -> None:
    shown = ToneCurve(4.0)(np.array([[3.0, 1.5, 0.3]]))
    assert np.allclose(shown / shown.max(), [[1.0, 0.5, 0.1]])


def test_display_in_parts_is_that_of_the_whole() -> None:
    codes = np.random.default_rng(0).integers(0, 65536, (300, 5, 3), dtype=np.uint16)
    encoding = ColorEncoding("hlg", "bt2020")
    shown = display_rgb(codes, encoding, ToneCurve())
    assert np.array_equal(shown[200:], display_rgb(codes[200:], encoding, ToneCurve()))

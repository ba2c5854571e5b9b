"""Files of the plate: names as in the input, every bit kept, layers that other programs read."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")

from scene.errors import InputError
from scene.media.color import ColorEncoding, ToneCurve
from stillsplat.plate.files import file_stems, for_display, write_exr_frame, write_png_frame


def test_names() -> None:
    assert file_stems(None, [0, 3, 6], 1001) == ["01001", "01004", "01007"]
    assert file_stems(["a7.jpg", "a8.jpg", "b.x.png"], [0, 2], 0) == ["a7", "b.x"]
    assert file_stems(["a.jpg", "a.png"], [0, 1], 0) == ["a_jpg", "a_png"]


def test_png_keeps_every_bit(tmp_path: Path) -> None:
    for kind in (np.uint8, np.uint16):
        image = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (20, 30, 3)).astype(kind)
        write_png_frame(tmp_path / "a.png", image, None)
        assert np.array_equal(cv2.imread(str(tmp_path / "a.png"), -1)[..., ::-1], image)
        alpha = np.zeros((20, 30), np.float32)
        alpha[:10] = 1
        write_png_frame(tmp_path / "a.png", image, alpha)
        found = cv2.imread(str(tmp_path / "a.png"), -1)
        assert np.array_equal(found[..., 2::-1], image) and np.array_equal(found[..., 3] > 0, alpha > 0)


def test_exr_has_layers(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    generator = np.random.default_rng(0)
    light = generator.uniform(0, 9, (20, 30, 3)).astype(np.float32)
    matte = generator.uniform(size=(20, 30)).astype(np.float32)
    invented, depth = matte > 0.8, (matte * 1e6).astype(np.float32)
    write_exr_frame(tmp_path / "a.exr", light, matte, matte / 2, invented, depth, None)
    with openexr.File(str(tmp_path / "a.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
        assert file.header()["compression"] == openexr.ZIP_COMPRESSION
    assert set(channels) == {"R", "G", "B", "matte.Y", "shadow.Y", "invented.Y", "depth.Z"}
    for axis, name in enumerate("RGB"):
        assert channels[name].dtype == np.float16
        np.testing.assert_allclose(channels[name], light[..., axis], rtol=1e-3)
    np.testing.assert_allclose(channels["shadow.Y"], matte / 2, rtol=1e-3)
    assert np.array_equal(channels["depth.Z"], depth) and np.array_equal(channels["invented.Y"] > 0, invented)


def test_display_codes_stay_and_hdr_is_shown() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert for_display(codes, ColorEncoding(), ToneCurve(), deep=False) is codes
    deep = for_display(codes, ColorEncoding(), ToneCurve(), deep=True)
    assert np.array_equal(for_display(deep, ColorEncoding(bits=16), ToneCurve(), deep=False), codes)
    # white of HLG at 203 cd/m2 has the code 0.75 (ITU-R BT.2408)
    white = np.full((4, 4, 3), round(0.75 * 65535), np.uint16)
    shown = for_display(white, ColorEncoding("hlg", "bt2020", bits=10), ToneCurve(), deep=False)
    assert shown.min() >= 250


def test_an_exr_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    plane = np.zeros((4, 6), np.float32)
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write_exr_frame(tmp_path / "gone" / "a.exr", np.zeros((4, 6, 3)), plane, plane, plane > 0, plane, None)

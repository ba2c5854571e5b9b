"""Images of every kind come out as the 8-bit RGB that a person would see."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scene.errors import InputError
from scene.images import fitted_size, read_image, resize_image, write_png

GRAY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
COLOR = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=-1)


def test_png_round_trip(tmp_path: Path) -> None:
    write_png(tmp_path / "color.png", COLOR)
    write_png(tmp_path / "gray.png", GRAY)
    assert np.array_equal(read_image(tmp_path / "color.png"), COLOR)
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.repeat(GRAY[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_color_is_scaled(tmp_path: Path, suffix: str) -> None:
    deep = COLOR.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), deep[..., ::-1])
    assert np.array_equal(read_image(tmp_path / f"deep{suffix}"), COLOR)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bit_gray_is_scaled(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), GRAY.astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / f"deep{suffix}"), np.repeat(GRAY[..., None], 3, axis=2))


def test_sixteen_bit_rounds_to_the_nearest_level(tmp_path: Path) -> None:
    deep = np.full((16, 16), 255, np.uint16)  # 255 / 257 = 0.99 of a level
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert (read_image(tmp_path / "deep.png") == 1).all()


def test_sixteen_bit_rgba(tmp_path: Path) -> None:
    deep = np.zeros((8, 9, 4), np.uint16)
    deep[..., 2], deep[..., 3] = 65535, 65535
    deep[:4, :, 3] = 0
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    image = read_image(tmp_path / "deep.png")
    assert (image[4:] == [255, 0, 0]).all() and (image[:4] == 0).all()


def test_float_tiff(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "float.tif"), GRAY.astype(np.float32) / 255)
    assert np.array_equal(read_image(tmp_path / "float.tif")[..., 0], GRAY)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1", "CMYK"])
def test_other_modes(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(COLOR)
    if mode in ("RGBA", "LA"):
        source.putalpha(255)
    image = source.convert(mode)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_what_is_transparent_lies_over_black(tmp_path: Path) -> None:
    layers = np.dstack([COLOR, np.full(GRAY.shape, 0, np.uint8)])
    layers[6:, :, 3] = 128
    Image.fromarray(layers).save(tmp_path / "cut.png")
    image = read_image(tmp_path / "cut.png")
    assert (image[:6] == 0).all()
    assert np.abs(image[6:] - COLOR[6:] * (128 / 255)).max() <= 0.5 + 1e-6


def test_transparent_palette_color(tmp_path: Path) -> None:
    image = Image.fromarray((GRAY > 100).astype(np.uint8), "P")
    image.putpalette([200, 10, 10, 20, 200, 20])
    image.save(tmp_path / "cut.png", transparency=0)
    pixels = read_image(tmp_path / "cut.png")
    assert (pixels[GRAY <= 100] == 0).all() and (pixels[GRAY > 100] == [20, 200, 20]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Against Pillow's own transposition, for the path through Pillow and the one for 16 bit through OpenCV."""
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    expected = Image.fromarray(GRAY)
    if orientation in methods:
        expected = expected.transpose(methods[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(GRAY.astype(np.uint16) * 257) if deep else Image.fromarray(GRAY)
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png")[..., 1], np.asarray(expected))


def test_a_image_cut_off_is_one_sentence(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"whole{suffix}"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:900])
        with pytest.raises(InputError, match=f"whole{suffix} is damaged"):
            read_image(path)


def test_not_a_image(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not an image"):
        read_image(path)
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "nowhere.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match="empty.png"):
        read_image(tmp_path / "empty.png")


def test_a_image_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (16, 16)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="bomb.png"):
        read_image(path)


def test_fitted_size() -> None:
    assert fitted_size(854, 480, 512) == (512, 288)
    assert fitted_size(1080, 1920, 512) == (288, 512)
    assert fitted_size(300, 201, 512) == (300, 201)
    assert fitted_size(3000, 2001, None) == (3000, 2001)
    assert fitted_size(5000, 1, 100) == (100, 1)


def test_shrinking_does_not_alias() -> None:
    """A checkerboard of single pixels shrinks to its mean, not to a pattern."""
    board = ((np.indices((512, 512)).sum(axis=0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    small = resize_image(board, 100, 100)
    assert np.abs(small.astype(float) - 127.5).max() < 15


def test_shrinking_by_two_is_the_mean_of_four() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    means = pixels.reshape(10, 2, 15, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(pixels, 15, 10) - means).max() <= 0.75

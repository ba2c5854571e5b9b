"""Image files are judged by their headers, before anything is unpacked."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scene.errors import InputError
from scene.frames import ImageFolderFrames
from scene.images import read_image
from scene.media.image_header import read_header, stored_gray, stored_values


def png_that_claims(path: Path, width: int, height: int, bits: int = 8, color: int = 2) -> Path:
    """A PNG file of a few bytes with a valid header of this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, color, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))))
    return path


READERS = [read_image, stored_values, stored_gray, read_header, lambda path: ImageFolderFrames([path]).rgb8(0)]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("side", "bits", "color"), [(13300, 16, 6), (13300, 8, 2), (10000, 16, 6), (60000, 1, 0), (2**31 - 1, 8, 2)]
)
def test_images_that_unpack_to_gigabytes(tmp_path: Path, reader, side: int, bits: int, color: int) -> None:
    path = png_that_claims(tmp_path / "bomb.png", side, side, bits, color)
    with pytest.raises(InputError, match=r"bomb\.png"):
        reader(path)


def test_a_medium_format_picture_is_not_too_large(tmp_path: Path) -> None:
    header = read_header(png_that_claims(tmp_path / "large.png", 11648, 8736))
    assert (header.width, header.height) == (11648, 8736)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices(tmp_path: Path, reader) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(InputError, match="which is not read"):
            reader(tmp_path / name)


def test_headers_say_what_pixels_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 20), np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    deep, turned = read_header(tmp_path / "deep.png"), read_header(tmp_path / "turned.jpg")
    assert (deep.width, deep.height, deep.is_deep, deep.count) == (20, 10, True, 1)
    assert (turned.width, turned.height, turned.is_deep) == (10, 20, False)


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "a.heif", "raw.DNG", "raw.cr2"])
def test_pictures_of_phones_and_cameras_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "pillow-heif" in message or "raw" in message or "damaged" in message

"""Image files are opened here, all of them: regular files only, and of a size that is sensible by their header, before
anything is unpacked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from scene.errors import InputError
from scene.files.paths import readable_file

#: more pixels than a camera delivers (medium format: 102 million)
MAX_PIXELS = 110_000_000
#: and more bytes, once it is unpacked
MAX_UNPACKED_BYTES = 640 << 20
#: read by the optional library pillow-heif
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
#: what the sensor saw, before it is a picture
_RAW_SUFFIXES = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})
#: bytes per sample where a decoder needs more than the image has
_WIDE_DECODERS = {"JPEG2000": 4}

# our limit is lower and is an error, not a warning on the terminal
Image.MAX_IMAGE_PIXELS = 2 * MAX_PIXELS


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says."""

    #: pixels, upright
    width: int
    height: int
    #: more than 8 bits per value
    is_deep: bool
    #: images in the file; more than one in animations
    count: int


def read_header(path: str | Path) -> ImageHeader:
    """Reads no pixels. Raises `InputError` as `opened_image` does."""
    with opened_image(path) as image:
        width, height = image.size
        # Pillow decodes a PNG file that has no such entry to look for one behind the pixels
        turned = (image.format != "PNG" or "exif" in image.info) and image.getexif().get(0x0112, 1) >= 5
        count = int(getattr(image, "n_frames", 1)) if getattr(image, "is_animated", False) else 1
        return ImageHeader(*((height, width) if turned else (width, height)), has_more_than_8_bits(image), count)


@contextmanager
def opened_image(path: str | Path) -> Iterator[Image.Image]:
    """The image, not decoded yet. Raises `InputError` for missing, damaged, too large and unknown files, and for what
    goes wrong inside of the block because the file is damaged."""
    path = Path(path)
    readable_file(path, "an image")
    _know_format(path)
    try:
        with Image.open(path) as image:
            _check_size(path, image)
            yield image
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image of a known kind; convert it to PNG or JPEG.") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged and cannot be read as an image; replace it or leave it out.") from error


def check_image_size(path: str | Path) -> None:
    """Raises `InputError` for a file that a decoder should not be given: not regular, no image, or too large."""
    with opened_image(path):
        pass


def stored_values(path: str | Path) -> np.ndarray:
    """The numbers of an image file as they are stored, such as depth: OpenCV's array (H, W) or (H, W, C) of the file's
    own type, channels in OpenCV's order. Raises `InputError` as `opened_image` does."""
    check_image_size(path)
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"{path} is damaged and cannot be read as an image; replace it or leave it out.")
    return values


def stored_gray(path: str | Path) -> np.ndarray:
    """An image file as uint8 (H, W), colors weighted to gray. Raises `InputError` as `opened_image` does."""
    check_image_size(path)
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise InputError(f"{path} is damaged and cannot be read as an image; replace it or leave it out.")
    return values


def has_more_than_8_bits(image: Image.Image) -> bool:
    """Whether the file has values of 16 or 32 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    # Pillow cuts 16-bit color down to 8 bit silently; the raw mode of the tile shows the original depth.
    tiles = getattr(image, "tile", None) or []
    return any("16" in str(tile[3]) for tile in tiles if len(tile) > 3) or (
        image.format == "TIFF" and max(np.atleast_1d(image.tag_v2.get(258, 8)).tolist()) > 8  # type: ignore[attr-defined]
    )


def _check_size(path: Path, image: Image.Image) -> None:
    bits = 4 if image.mode in ("F", "I") else 2 if has_more_than_8_bits(image) else 1
    sample = max(bits, _WIDE_DECODERS.get(image.format or "", 1))
    channels = max(3, len(image.getbands()))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS or pixels * channels * sample > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{path} has {image.width}x{image.height} pixels by its header, more than is sensible for a frame; check "
            "the file or make it smaller."
        )


def _know_format(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _RAW_SUFFIXES:
        raise InputError(f"{path} is camera raw data; develop it to PNG, TIFF or JPEG first.")
    if suffix not in HEIF_SUFFIXES:
        return
    try:
        import pillow_heif  # type: ignore[import-not-found]
    except ImportError:
        raise InputError(
            f"{path} is a HEIC picture, for which pillow-heif is needed: python -m pip install pillow-heif; or convert "
            f'it: heif-convert "{path.name}" "{path.stem}.jpg".'
        ) from None
    pillow_heif.register_heif_opener()

"""Reads image files of any format as upright 8-bit RGB, resizes images, and writes PNG and JPEG files."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from scene.media.image_header import HEIF_SUFFIXES, has_more_than_8_bits, opened_image, read_header, stored_values

IMAGE_SUFFIXES = HEIF_SUFFIXES | frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".avif", ".jp2"}
)
#: rows that are converted at once, to bound memory
_ROWS = 256


def read_image(path: str | Path) -> np.ndarray:
    """The image as uint8 RGB (H, W, 3), transparency laid over black; else as `read_layers`."""
    color, alpha = read_layers(path)
    if alpha is None:
        return color
    for top in range(0, len(color), _ROWS):
        rows = slice(top, top + _ROWS)
        color[rows] = (color[rows].astype(np.uint16) * alpha[rows, :, None] + 127) // 255
    return color


def read_layers(path: str | Path, *, full_scale: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The image as uint8 RGB (H, W, 3), colors not multiplied by alpha, and its alpha, uint8 (H, W); None where it has
    none.

    EXIF orientation is applied; 16-bit and float images are scaled to 8 bit; gray, palette and CMYK become RGB.
    `full_scale`: the value of white in a 16-bit image, where it is not 65535 (`scene.media.integer_range`). Raises
    `InputError` for missing, damaged, too large and unknown files.
    """
    path = Path(path)
    with opened_image(path) as image:
        if has_more_than_8_bits(image):
            orientation = image.getexif().get(0x0112, 1)
            color, alpha = _read_deep(path, full_scale)
            return _upright(color, orientation), None if alpha is None else _upright(alpha, orientation)
        image.draft("RGB", None)
        if image.getexif().get(0x0112, 1) != 1:
            return _layers8(ImageOps.exif_transpose(image))
        return _layers8(image)


def read_original(path: str | Path, *, full_scale: int | None = None) -> np.ndarray:
    """The colors of an image file without loss, upright RGB (H, W, 3): uint8, uint16 with 65535 for white, or float32
    as they are stored. Alpha is left out, colors are not multiplied by it."""
    path = Path(path)
    with opened_image(path) as image:
        deep, orientation = has_more_than_8_bits(image), image.getexif().get(0x0112, 1)
    if not deep:
        return read_layers(path)[0]
    values, _ = split_alpha(stored_values(path))
    if values.dtype == np.uint16 and full_scale is not None:
        values = np.minimum(values.astype(np.float32) * np.float32(65535.0 / full_scale), 65535.0)
        values = np.rint(values).astype(np.uint16)
    elif values.dtype not in (np.uint8, np.uint16):
        values = values.astype(np.float32)
    color = values[..., ::-1] if values.shape[2] == 3 else np.repeat(values[..., :1], 3, axis=2)
    return _upright(np.ascontiguousarray(color), orientation)


def deep_integer_peak(path: str | Path) -> int | None:
    """The largest color value of an image file of 16-bit integers; None for other files."""
    if not read_header(path).is_deep:
        return None
    values = stored_values(path)
    return int(split_alpha(values)[0].max()) if values.dtype == np.uint16 else None


def split_alpha(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """OpenCV's image as color (H, W, 1 or 3) and alpha (H, W), or None where it has none."""
    if values.ndim == 2:
        return values[..., None], None
    return (values, None) if values.shape[2] not in (2, 4) else (values[..., :-1], values[..., -1])


def _layers8(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return np.array(image if image.mode == "RGB" else image.convert("RGB")), None
    color = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _ROWS):
        bottom = min(top + _ROWS, image.height)
        layers = np.asarray(image.crop((0, top, image.width, bottom)).convert("RGBA"))
        color[top:bottom], alpha[top:bottom] = layers[..., :3], layers[..., 3]
    return color, alpha


def _read_deep(path: Path, full_scale: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A 16-bit or float image as uint8 RGB and alpha, not upright yet; floats in [0, 1]."""
    values, values_of_alpha = split_alpha(stored_values(path))
    color = np.empty((*values.shape[:2], 3), np.uint8)
    for top in range(0, len(values), _ROWS):
        part = _eight_bits(values[top : top + _ROWS], full_scale)
        color[top : top + _ROWS] = part[..., ::-1] if part.shape[2] == 3 else part
    return color, None if values_of_alpha is None else _eight_bits(values_of_alpha, None)


def _eight_bits(values: np.ndarray, full_scale: int | None) -> np.ndarray:
    if np.issubdtype(values.dtype, np.integer):
        largest = full_scale or np.iinfo(str(values.dtype)).max
        scaled = values.astype(np.float32) / np.float32(largest)
    else:
        scaled = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation (1 to 8) to pixels (H, W, 3) or (H, W)."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 8: 1, 6: 3, 7: 3}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def fitted_size(width: int, height: int, max_size: int | None) -> tuple[int, int]:
    """(width, height) with the long side brought down to `max_size`; never up; None leaves the size."""
    longest = max(width, height)
    if max_size is None or longest <= max_size:
        return width, height
    scale = max_size / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize_image(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels (H, W, C) at another size: by area means when it shrinks, so that nothing aliases; Lanczos otherwise."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def resize_layers(color: np.ndarray, alpha: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Color (H, W, 3) and alpha (H, W), both uint8, at another size: `resize_image`, colors weighted by alpha. What is
    transparent becomes black."""
    weight = alpha.astype(np.float32) / 255.0
    small = resize_image(color * weight[..., None], width, height)
    small_weight = np.clip(resize_image(weight, width, height), 0.0, 1.0)
    straight = small / np.maximum(small_weight, 1e-3)[..., None]
    straight[small_weight < 0.5 / 255.0] = 0.0
    return np.rint(np.clip(straight, 0, 255)).astype(np.uint8), np.rint(small_weight * 255.0).astype(np.uint8)


def write_jpeg(path: str | Path, pixels: np.ndarray) -> None:
    """Writes uint8 RGB pixels (H, W, 3) at quality 95. Not atomic by itself; raises `OSError` like `write_png`."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    Path(path).write_bytes(cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Writes uint8 pixels, RGB (H, W, 3) or gray (H, W), quickly rather than small. Not atomic by itself.

    A file at `path` is replaced, not changed, because it may be hard-linked into a scene. Raises `OSError` when the
    place cannot be written to, which `atomic_folder` and `atomic_file` turn into a sentence.
    """
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png needs uint8 pixels, not {pixels.dtype}")
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    encoded = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
    path = Path(path)
    path.unlink(missing_ok=True)
    path.write_bytes(encoded.tobytes())

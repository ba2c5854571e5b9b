"""Reads image files of any format as upright 8-bit RGB, resizes images, and writes PNG and JPEG files."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scene.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".avif", ".jp2"}
)
#: more pixels than any camera delivers: such a file is damaged or hostile
MAX_PIXELS = 200_000_000


def read_image(path: str | Path) -> np.ndarray:
    """The image as uint8 RGB (H, W, 3), transparency laid over black; else as `read_layers`."""
    color, alpha = read_layers(path)
    if alpha is None:
        return color
    return ((color.astype(np.uint16) * alpha[..., None] + 127) // 255).astype(np.uint8)


def read_layers(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The image as uint8 RGB (H, W, 3), colors not multiplied by alpha, and its alpha, uint8 (H, W); None where it has
    none.

    EXIF orientation is applied; 16-bit and float images are scaled to 8 bit; gray, palette and CMYK become RGB. Raises
    `InputError` for missing, damaged, too large and unknown files.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path} has {image.width}x{image.height} pixels by its header, more than is sensible for a "
                    "frame; check the file or make it smaller."
                )
            if _has_more_than_8_bits(image):
                orientation = image.getexif().get(0x0112, 1)
                color, alpha = _read_deep(path)
                return _upright(color, orientation), None if alpha is None else _upright(alpha, orientation)
            image.draft("RGB", None)
            upright = ImageOps.exif_transpose(image)
            return _layers8(upright)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not an image; name the images in it.") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image of a known kind; convert it to PNG or JPEG.") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged and cannot be read as an image; replace it or leave it out.") from error


def _has_more_than_8_bits(image: Image.Image) -> bool:
    if image.mode.startswith("I") or image.mode == "F":
        return True
    # Pillow cuts 16-bit color down to 8 bit silently; the raw mode of the tile shows the original depth.
    tiles = getattr(image, "tile", None) or []
    return any("16" in str(tile[3]) for tile in tiles if len(tile) > 3) or (
        image.format == "TIFF" and max(np.atleast_1d(image.tag_v2.get(258, 8)).tolist()) > 8  # type: ignore[attr-defined]
    )


def _layers8(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layers = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(layers[..., :3]), np.ascontiguousarray(layers[..., 3])
    return np.array(image.convert("RGB")), None


def _read_deep(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """A 16-bit or float image as uint8 RGB and alpha, not upright yet; integers are full scale, floats in [0, 1]."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"{path} is damaged or of a kind with more than 8 bits that is not known; convert it to PNG.")
    if values.dtype == np.uint8:
        scaled = values.astype(np.float32) / 255.0
    elif np.issubdtype(values.dtype, np.integer):
        scaled = values.astype(np.float32) / np.iinfo(str(values.dtype)).max
    else:
        scaled = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    scaled = np.clip(scaled, 0.0, 1.0)
    if scaled.ndim == 2:
        scaled = scaled[..., None]
    eight_bits = np.rint(scaled * 255.0).astype(np.uint8)
    color, alpha = eight_bits, None
    if scaled.shape[2] in (2, 4):
        color, alpha = eight_bits[..., :-1], np.ascontiguousarray(eight_bits[..., -1])
    color = color[..., ::-1] if color.shape[2] == 3 else np.repeat(color[..., :1], 3, axis=2)
    return np.ascontiguousarray(color), alpha


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

"""Images to what the networks take: the right size, normalized, with the intrinsics that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scene.errors import InputError
from scene.images import read_image

ResizeMethod = Literal["upper_bound_resize", "lower_bound_resize", "upper_bound_crop", "lower_bound_crop"]

PATCH = 14
#: of the images of ImageNet
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
#: more pixels than this on a side are a mistake, not a image
_LARGEST_SIZE = 8192
#: sizes that a warning lists
_SIZES_NAMED = 4


@dataclass(frozen=True)
class Fitting:
    """How a image becomes one whose sides are multiples of the patch size. Sizes are (width, height); `crop` is
    (left, top) of what is kept of the last size."""

    original: tuple[int, int]
    bounded: tuple[int, int]
    final: tuple[int, int]
    crop: tuple[int, int] | None

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 pixels (H, W, 3) fitted: enlarged by cubic interpolation, shrunk by area means."""
        pixels = _resized(pixels, self.bounded)
        if self.crop is None:
            return _resized(pixels, self.final)
        left, top = self.crop
        return pixels[top : top + self.final[1], left : left + self.final[0]]

    def from_original(self) -> np.ndarray:
        """What takes pixels of the original image to those of the fitted one, and intrinsics with them, (3, 3)."""
        end = self.bounded if self.crop is not None else self.final
        left, top = self.crop or (0, 0)
        across, down = end[0] / self.original[0], end[1] / self.original[1]
        return np.array([[across, 0.0, -left], [0.0, down, -top], [0.0, 0.0, 1.0]])


def fit(width: int, height: int, process_res: int = 504, method: ResizeMethod = "upper_bound_resize") -> Fitting:
    """How a image of `width` x `height` is brought to `process_res`.

    First its longest ("upper_bound") or shortest ("lower_bound") side becomes `process_res`; then every side becomes
    the nearest multiple of 14, at least 14 ("resize"), or is cropped about the middle to the next smaller one ("crop").
    Raises `InputError` for an unknown method, a size that makes no sense, or a image too narrow to crop.
    """
    if method not in get_args(ResizeMethod):
        raise InputError(f'There is no resize method "{method}"; choose one of: {", ".join(get_args(ResizeMethod))}.')
    if isinstance(process_res, bool) or not isinstance(process_res, int | np.integer):
        raise InputError(f"The processing size must be a whole number of pixels, not {process_res!r}.")
    if not PATCH <= process_res <= _LARGEST_SIZE:
        raise InputError(f"The processing size must be from {PATCH} to {_LARGEST_SIZE} pixels, not {process_res}.")
    side = max(width, height) if method.startswith("upper") else min(width, height)
    scale = process_res / side
    bounded = (max(1, round(width * scale)), max(1, round(height * scale)))
    if max(bounded) > _LARGEST_SIZE:
        raise InputError(
            f"A image of {width}x{height} would become {bounded[0]}x{bounded[1]} pixels; "
            "use the method upper_bound_resize for such a panorama."
        )
    if method.endswith("resize"):
        final = (_nearest_multiple(bounded[0]), _nearest_multiple(bounded[1]))
        return Fitting((width, height), bounded, final, None)
    final = (bounded[0] // PATCH * PATCH, bounded[1] // PATCH * PATCH)
    if 0 in final:
        raise InputError(
            f"A image of {width}x{height} becomes {bounded[0]}x{bounded[1]} pixels, too narrow to crop to multiples "
            f"of {PATCH}; use a resize method or a larger processing size."
        )
    return Fitting((width, height), bounded, final, ((bounded[0] - final[0]) // 2, (bounded[1] - final[1]) // 2))


def _nearest_multiple(side: int) -> int:
    """Ties go up."""
    return max(PATCH, (side + PATCH // 2) // PATCH * PATCH)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    grows = size[0] > width or size[1] > height
    return cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA)


@dataclass(frozen=True)
class OriginalImage:
    """A image as it came: the name of its file (None: it came as an array), its size, and what takes pixels, and
    intrinsics, of the processed image to its own, (3, 3)."""

    name: str | None
    width: int
    height: int
    from_processed: np.ndarray


@dataclass
class ProcessedImages:
    """`images` (N, H, W, 3) uint8 RGB, their `intrinsics` (N, 3, 3) float64 where they were given, what they were
    before, and what a person should know (`warnings`)."""

    images: np.ndarray
    intrinsics: np.ndarray | None
    originals: list[OriginalImage]
    warnings: list[str] = field(default_factory=list)

    def tensor(self) -> Tensor:
        """What the networks take: (N, 3, H, W) float32, normalized by the mean and deviation of ImageNet."""
        return normalized(self.images)


def restored(images: Tensor) -> np.ndarray:
    """Normalized images (N, 3, H, W) back to uint8 (N, H, W, 3) as the official code does: cut off, not rounded."""
    values = images.permute(0, 2, 3, 1).double().numpy() * _DEVIATION + _MEAN
    return (np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


def normalized(images: np.ndarray) -> Tensor:
    """uint8 RGB images (N, H, W, 3) to (N, 3, H, W) float32, normalized by the mean and deviation of ImageNet."""
    values = images.astype(np.float32)
    values /= np.float32(255)
    values -= _MEAN.astype(np.float32)
    values /= _DEVIATION.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def process_images(
    images: Sequence[Any],
    intrinsics: np.ndarray | None = None,
    *,
    process_res: int = 504,
    method: ResizeMethod = "upper_bound_resize",
    apply_orientation: bool = True,
) -> ProcessedImages:
    """Reads and fits images, one at a time in memory at full size.

    `images` are paths, PIL images, or arrays or tensors, (H, W, 3) uint8 RGB or float in [0, 1] (tensors also
    (3, H, W)). `intrinsics` (N, 3, 3) are in pixels of the images as given. Where the fitted sizes differ, all are
    cropped about the middle to the smallest width and height. With `apply_orientation` files are turned as their EXIF
    data says; the official code does not.
    """
    fitted, sizes, from_original = [], [], []
    for index, image in enumerate(images):
        pixels = as_rgb8(image, index, apply_orientation=apply_orientation)
        height, width = pixels.shape[:2]
        fitting = fit(width, height, process_res, method)
        fitted.append(fitting.picture(pixels))
        sizes.append((width, height))
        from_original.append(fitting.from_original())
    rows, columns = min(picture.shape[0] for picture in fitted), min(picture.shape[1] for picture in fitted)
    warnings = []
    if any(picture.shape[:2] != (rows, columns) for picture in fitted):
        found = list(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
        more = f" and {len(found) - _SIZES_NAMED} more" if len(found) > _SIZES_NAMED else ""
        warnings.append(
            f"The images have different shapes ({', '.join(found[:_SIZES_NAMED])}{more}); all were brought to the "
            f"processing size and cropped to {columns}x{rows} about the middle."
        )
    for index, picture in enumerate(fitted):
        top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
        fitted[index] = picture[top : top + rows, left : left + columns]
        from_original[index][:2, 2] -= (left, top)
    originals = []
    for image, (width, height), matrix in zip(images, sizes, from_original, strict=True):
        name = Path(image).name if isinstance(image, str | Path) else None
        originals.append(OriginalImage(name, width, height, np.linalg.inv(matrix)))
    matrices = None if intrinsics is None else np.stack(from_original) @ np.asarray(intrinsics, np.float64)
    return ProcessedImages(np.stack(fitted), matrices, originals, warnings)


def as_rgb8(image: Any, index: int = 0, *, apply_orientation: bool = True) -> np.ndarray:
    """Anything that `process_images` takes as uint8 RGB (H, W, 3); `InputError` names image `index` otherwise."""
    if isinstance(image, str | Path):
        return read_image(image) if apply_orientation else _read_as_stored(Path(image))
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        if image.dim() == 3 and image.shape[0] == 3 and image.shape[2] != 3:
            image = image.permute(1, 2, 0)
        image = image.float().numpy() if image.is_floating_point() else image.numpy()
    if not isinstance(image, np.ndarray):
        raise InputError(f"Image {index} is a {type(image).__name__}; give a path, a PIL image or an RGB array.")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"Image {index} has the shape {image.shape}; give RGB arrays of shape (H, W, 3).")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"Image {index} holds {image.dtype} values; give uint8, or floats in [0, 1].")
    if not np.isfinite(image).all() or image.min() < 0.0 or image.max() > 1.0:
        raise InputError(f"Image {index} holds floats outside [0, 1]; give uint8, or floats in [0, 1].")
    return np.rint(image * 255.0).astype(np.uint8)


def _read_as_stored(path: Path) -> np.ndarray:
    """A image file without regard to its EXIF orientation."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a image; check the path and the file.") from error

"""Preprocessing of images for the networks: resizing, cropping, normalization, and the intrinsics that result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dynamic_predictor.depth_anything3.settings import ResizeMethod
from scene.errors import InputError
from scene.images import read_image
from scene.media.image_header import opened_image

PATCH = 14
#: of the colors of ImageNet
MEAN, STANDARD_DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
#: largest side of a processed image in pixels
_LARGEST_SIZE = 8192
#: number of sizes that a warning lists
_LISTED_SIZES = 4


@dataclass(frozen=True)
class Fitting:
    """Resizing and cropping of an image so that its sides become multiples of the patch size.

    Sizes are (width, height): the image is resized from `original` to `bounded` and then cropped to `final` at `crop`
    (left, top), or resized once more if `crop` is None.
    """

    original: tuple[int, int]
    bounded: tuple[int, int]
    final: tuple[int, int]
    crop: tuple[int, int] | None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The processed image of uint8 `pixels` (H, W, 3); cubic interpolation enlarges, area averaging shrinks."""
        pixels = _resized(pixels, self.bounded)
        if self.crop is None:
            return _resized(pixels, self.final)
        left, top = self.crop
        return pixels[top : top + self.final[1], left : left + self.final[0]]

    def from_original(self) -> np.ndarray:
        """The matrix (3, 3) from pixels, or intrinsics, of the original image to those of the processed one."""
        end = self.bounded if self.crop is not None else self.final
        left, top = self.crop or (0, 0)
        across, down = end[0] / self.original[0], end[1] / self.original[1]
        return np.array([[across, 0.0, -left], [0.0, down, -top], [0.0, 0.0, 1.0]])


def fit(width: int, height: int, process_res: int = 504, method: ResizeMethod = "upper_bound_resize") -> Fitting:
    """The resizing of an image of `width` x `height` to `process_res`.

    First its longest ("upper_bound") or shortest ("lower_bound") side becomes `process_res`; then every side is resized
    to the nearest multiple of 14, at least 14 ("resize"), or cropped about the center to the next smaller multiple
    ("crop"). Raises `InputError` for an unknown method, a size out of range, or an image too narrow to crop.
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
            f"An image of {width}x{height} would become {bounded[0]}x{bounded[1]} pixels; "
            "use the method upper_bound_resize for such a panorama."
        )
    if method.endswith("resize"):
        final = (_nearest_multiple(bounded[0]), _nearest_multiple(bounded[1]))
        return Fitting((width, height), bounded, final, None)
    final = (bounded[0] // PATCH * PATCH, bounded[1] // PATCH * PATCH)
    if 0 in final:
        raise InputError(
            f"An image of {width}x{height} becomes {bounded[0]}x{bounded[1]} pixels, too narrow to crop to multiples "
            f"of {PATCH}; use a resize method or a larger processing size."
        )
    return Fitting((width, height), bounded, final, ((bounded[0] - final[0]) // 2, (bounded[1] - final[1]) // 2))


def _nearest_multiple(side: int) -> int:
    """The nearest multiple of the patch size, at least one patch; ties are rounded up."""
    return max(PATCH, (side + PATCH // 2) // PATCH * PATCH)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    grows = size[0] > width or size[1] > height
    return cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA)


@dataclass(frozen=True)
class OriginalImage:
    """An image before processing: the name of its file (None for arrays), its size in pixels, and the matrix (3, 3)
    from pixels, or intrinsics, of the processed image to its own."""

    name: str | None
    width: int
    height: int
    from_processed: np.ndarray


@dataclass
class ProcessedImages:
    """`images` (N, H, W, 3) uint8 RGB, their `intrinsics` (N, 3, 3) in pixels, and sentences for the user."""

    images: np.ndarray
    intrinsics: np.ndarray | None
    originals: list[OriginalImage]
    warnings: list[str] = field(default_factory=list)

    def tensor(self) -> Tensor:
        """The input of the networks (N, 3, H, W), see `normalized`."""
        return normalized(self.images)


def normalized(images: np.ndarray) -> Tensor:
    """float32 (N, 3, H, W) of uint8 RGB images (N, H, W, 3), with ImageNet's mean and deviation removed."""
    values = images.astype(np.float32)
    values /= np.float32(255)
    values -= MEAN.astype(np.float32)
    values /= STANDARD_DEVIATION.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def process_images(
    images: Sequence[Any],
    intrinsics: np.ndarray | None = None,
    *,
    process_res: int = 504,
    method: ResizeMethod = "upper_bound_resize",
    apply_orientation: bool = True,
) -> ProcessedImages:
    """Reads, resizes and crops images, with one of them at full size in memory at a time.

    `images` are paths, PIL images, arrays or tensors, (H, W, 3) uint8 RGB or float in [0, 1] (tensors also (3, H, W)).
    `intrinsics` (N, 3, 3) are in pixels of the given images. If the processed sizes differ, all images are cropped
    about the center to the smallest width and height, with a warning. With `apply_orientation` files are rotated by
    their EXIF orientation. Raises `InputError` as `fit` and `as_rgb8`.
    """
    fitted, sizes, from_original = [], [], []
    for index, image in enumerate(images):
        pixels = as_rgb8(image, index, apply_orientation=apply_orientation)
        height, width = pixels.shape[:2]
        fitting = fit(width, height, process_res, method)
        fitted.append(fitting.apply(pixels))
        sizes.append((width, height))
        from_original.append(fitting.from_original())
    rows, columns = min(image.shape[0] for image in fitted), min(image.shape[1] for image in fitted)
    warnings = []
    if any(image.shape[:2] != (rows, columns) for image in fitted):
        found = list(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
        more = f" and {len(found) - _LISTED_SIZES} more" if len(found) > _LISTED_SIZES else ""
        warnings.append(
            f"The images have different shapes ({', '.join(found[:_LISTED_SIZES])}{more}); all were resized to the "
            f"processing size and cropped to {columns}x{rows} about the center."
        )
    for index, image in enumerate(fitted):
        top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
        fitted[index] = image[top : top + rows, left : left + columns]
        from_original[index][:2, 2] -= (left, top)
    originals = []
    for image, (width, height), matrix in zip(images, sizes, from_original, strict=True):
        name = Path(image).name if isinstance(image, str | Path) else None
        originals.append(OriginalImage(name, width, height, np.linalg.inv(matrix)))
    matrices = None if intrinsics is None else np.stack(from_original) @ np.asarray(intrinsics, np.float64)
    return ProcessedImages(np.stack(fitted), matrices, originals, warnings)


def as_rgb8(image: Any, index: int = 0, *, apply_orientation: bool = True) -> np.ndarray:
    """Any image of `process_images` as uint8 RGB (H, W, 3). `InputError` names image `index` for other values."""
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
    """An image file, ignoring its EXIF orientation."""
    with opened_image(path) as image:
        return np.array(image.convert("RGB"))

"""Images at sizes that the network takes: sides that are multiples of its patches, the longer one 518 pixels."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from scene.errors import InputError

PATCH = 14
#: side in pixels of the images that the networks were trained on
WORKING_SIZE = 518
_LARGEST_SIZE = 8192

#: how an image is brought to the size: "resize" keeps all of it; "crop" makes it `size` wide and cuts what is higher
#: (the official demo); "pad" fills it up to a square with white (its other mode); "evaluation" cuts it to multiples of
#: 14, and square ones to 4:3 (the official evaluation of depth and reconstruction, with the loader of CUT3R)
Fit = Literal["resize", "crop", "pad", "evaluation"]


@dataclass(frozen=True)
class Fitting:
    """The way of an image to the network: resized to `resized` (width, height), of which the network sees `canvas`
    (width, height) beginning at `corner` (x, y); beyond the image it sees white. `resampling`: how pixels are mixed."""

    original: tuple[int, int]
    resized: tuple[int, int]
    canvas: tuple[int, int]
    corner: tuple[int, int]
    resampling: Image.Resampling = Image.Resampling.BICUBIC

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what the network sees."""
        return self.canvas[1], self.canvas[0]

    def to_network(self, image: np.ndarray) -> np.ndarray:
        """float32 (3, H, W) in [0, 1] of an uint8 RGB image (h, w, 3)."""
        if (image.shape[1], image.shape[0]) != self.original:
            raise InputError(
                f"A frame has {image.shape[1]}x{image.shape[0]} pixels and those before {self.original[0]}x"
                f"{self.original[1]}; all frames of a clip must have one size."
            )
        pixels = np.asarray(Image.fromarray(image).resize(self.resized, self.resampling))
        inside, outside = self._overlap()
        seen = np.full((*self.size, 3), 255, np.uint8)
        seen[inside] = pixels[outside]
        return np.ascontiguousarray(seen.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)

    def from_network(self, maps: np.ndarray) -> np.ndarray:
        """Maps (H, W) of all of the resized image from what the network saw of it; 0 where it saw nothing."""
        if self.canvas == self.resized:
            return maps
        inside, outside = self._overlap()
        whole = np.zeros((self.resized[1], self.resized[0]), maps.dtype)
        whole[outside] = maps[inside]
        return whole

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that both have, in the canvas and in the resized image."""
        pairs = []
        for canvas, resized, corner in zip(self.canvas, self.resized, self.corner, strict=True):
            first, stop = max(corner, 0), min(corner + canvas, resized)
            pairs.append((slice(first - corner, stop - corner), slice(first, stop)))
        (columns, image_columns), (rows, image_rows) = pairs
        return (rows, columns), (image_rows, image_columns)


def fit(width: int, height: int, how: str = "resize", size: int = WORKING_SIZE) -> Fitting:
    """How images of `width` x `height` are brought to `size`, see `Fit`. Raises `InputError` for an unknown way, and
    for a size that is no multiple of the patch size or out of range."""
    if how not in get_args(Fit):
        raise InputError(f'There is no fit "{how}"; choose one of: {", ".join(get_args(Fit))}.')
    if not PATCH <= size <= _LARGEST_SIZE or size % PATCH:
        raise InputError(f"The network's size must be a multiple of {PATCH} up to {_LARGEST_SIZE}, not {size}.")
    if how == "evaluation":
        return _evaluation_fit(width, height, size)
    longer = width if how == "crop" else max(width, height)
    resized = _multiple(width * (size / longer)), _multiple(height * (size / longer))
    if how == "resize":
        return Fitting((width, height), resized, resized, (0, 0))
    if how == "crop":
        canvas = resized[0], min(resized[1], size)
    else:
        canvas = (size, size)
    corner = (resized[0] - canvas[0]) // 2, (resized[1] - canvas[1]) // 2
    if how == "pad":
        corner = -((size - resized[0]) // 2), -((size - resized[1]) // 2)
    return Fitting((width, height), resized, canvas, corner)


def _evaluation_fit(width: int, height: int, size: int) -> Fitting:
    longer = max(width, height)
    resized = round(width * size / longer), round(height * size / longer)
    middle = resized[0] // 2, resized[1] // 2
    half_width, half_height = (2 * side // PATCH * (PATCH // 2) for side in middle)
    if width == height:  # 4:3; the official height is no multiple of the patch size and is refused by its network
        half_height = round(0.75 * half_width / (PATCH // 2)) * (PATCH // 2)
    if not half_width or not half_height:
        raise InputError(f"Images of {width}x{height} are too narrow to be cut to multiples of {PATCH} pixels.")
    corner = middle[0] - half_width, middle[1] - half_height
    resampling = Image.Resampling.LANCZOS if longer > size else Image.Resampling.BICUBIC
    return Fitting((width, height), resized, (2 * half_width, 2 * half_height), corner, resampling)


def _multiple(side: float) -> int:
    """The nearest multiple of the patch size, at least one patch."""
    return max(PATCH, round(side / PATCH) * PATCH)

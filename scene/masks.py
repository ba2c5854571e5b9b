"""A user's own motion masks: images in a folder, one per frame, black = static, anything else = moves."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.frames import Frames, list_images
from scene.images import read_image
from scene.maps import FrameMaps, StoredMaps


def open_masks(folder: str | Path, frames: Frames, *, positions: Sequence[int] | None = None) -> FrameMaps:
    """Reads the masks in `folder`, in natural order, for `frames`: float32 (H, W), 1 = moves, 0 = static.

    One mask per frame, or one for each frame of the whole clip, in which `positions` are the frames' indices. A mask
    of another size but the same aspect is brought to the frames' size by the nearest pixel. Raises `InputError` when
    the count or an aspect does not fit or a file cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; give a folder of mask images, one per frame.")
    paths = list_images(folder)
    if positions is not None and len(frames) < len(paths) > max(positions):
        paths = [paths[position] for position in positions]
    if len(paths) != len(frames):
        raise InputError(f"{folder} holds {len(paths)} masks for {len(frames)} frames; give one mask per frame.")
    masks = StoredMaps(len(paths), frames.height, frames.width, dtype=np.uint8)
    for index, path in enumerate(paths):
        masks[index] = _read_mask(path, frames.width, frames.height)
    return masks


def _read_mask(path: Path, width: int, height: int) -> np.ndarray:
    """Uint8 (H, W), 1 = moves."""
    moves = (read_image(path).max(axis=2) > 0).astype(np.uint8)
    mask_height, mask_width = moves.shape
    if (mask_height, mask_width) == (height, width):
        return moves
    # Sizes are whole numbers, so a resized pair may differ by one pixel in the shorter side.
    if abs(mask_width * height - width * mask_height) > max(mask_width, width, mask_height, height):
        raise InputError(
            f"{path} is {mask_width}x{mask_height}, which is not the shape of the frames ({width}x{height}); "
            "give masks of the frames' size or aspect."
        )
    return cv2.resize(moves, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

"""Masks of a clip in one array of an .npy or .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.arrays import read_entries
from scene.files.text import check_file

#: entries of an .npz file that hold masks, in the order of preference, where it has several
_NAMES = ("masks", "mask", "motion_masks", "motion", "arr_0")


def read_mask_stack(path: Path) -> np.ndarray:
    """The masks (N, H, W) of a file as they stand; an .npy file is mapped, not read. Raises `InputError` for damaged
    files and arrays of another shape."""
    check_file(path)
    stack = _npz_array(path) if path.suffix.lower() == ".npz" else _npy_array(path)
    if stack.ndim == 4 and 1 in (stack.shape[1], stack.shape[3]):
        stack = stack[:, 0] if stack.shape[1] == 1 else stack[..., 0]
    if stack.ndim != 3 or 0 in stack.shape:
        raise InputError(f"{path} holds an array of shape {stack.shape}; masks of a clip are (frames, height, width).")
    return stack


def _npy_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        raise InputError(f"{path} is damaged and cannot be read as an array of masks.") from None


def _npz_array(path: Path) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (OSError, ValueError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged and cannot be read as an .npz file of arrays.") from None
    chosen = found if len(found) == 1 else [name for name in _NAMES if name in found]
    if not chosen:
        raise InputError(f'{path} has no array "masks" (it has {", ".join(found[:8]) or "none"}); rename it.')
    return read_entries(path, chosen[:1])[chosen[0]]

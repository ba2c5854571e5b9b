"""A camera out of numbers that somebody wrote: possible sizes, finite and sensible values, a rigid pose."""

from pathlib import Path
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.text import finite_array
from scene.rotations import is_rigid

_LARGEST_SIDE = 1 << 20
#: no camera is farther from the origin, in any unit, and squares and cubes of it are finite
LARGEST_COORDINATE = 1e30
#: in pixels; a smaller one is 0 in the rasterizer's float32 arithmetic sooner or later
_SMALLEST_FOCAL, _LARGEST_FOCAL = 1e-6, 1e9


def checked_size(values: list[Any], of: str, path: Path) -> tuple[int, int]:
    """Width and height in pixels, or `InputError` that names `of` (what they belong to) and `path`."""
    size = finite_array(values, (2,), f"the size of {of}", path)
    if not ((size >= 1) & (size < _LARGEST_SIDE)).all():
        raise InputError(f"{path}: {of} is {size[0]:.9g}x{size[1]:.9g} pixels, which is not a possible size.")
    return int(size[0]), int(size[1])


def checked_intrinsics(values: list[Any], of: str, path: Path) -> tuple[float, float, float, float]:
    """fx, fy, cx and cy, or `InputError` that names `of` and `path`."""
    fx, fy, cx, cy = finite_array(values, (4,), f"the intrinsics of {of}", path).tolist()
    if not (_SMALLEST_FOCAL <= fx <= _LARGEST_FOCAL and _SMALLEST_FOCAL <= fy <= _LARGEST_FOCAL):
        raise InputError(f"{path}: the focal length of {of} is not positive, or far from any that a camera has.")
    if max(abs(cx), abs(cy)) > _LARGEST_FOCAL:
        raise InputError(f"{path}: the principal point of {of} is far from any image.")
    return fx, fy, cx, cy


def checked_pose(values: Any, name: str, of: str, path: Path) -> np.ndarray:
    """A rigid 4x4 matrix called `name`, or `InputError` that names `of` and `path`."""
    matrix = finite_array(values, (4, 4), f"{name} of {of}", path)
    if np.abs(matrix).max() > LARGEST_COORDINATE or not is_rigid(matrix):
        raise InputError(f"{path}: {name} of {of} is not a rigid motion.")
    return matrix


def checked_camera(path: Path, of: str, size: list[Any], intrinsics: list[Any], pose: Any) -> Camera:
    """The camera of `of`. `size`: width and height; `intrinsics`: fx, fy, cx, cy; `pose`: world_from_camera."""
    width, height = checked_size(size, of, path)
    fx, fy, cx, cy = checked_intrinsics(intrinsics, of, path)
    return Camera(width, height, fx, fy, cx, cy, checked_pose(pose, "world_from_camera", of, path))

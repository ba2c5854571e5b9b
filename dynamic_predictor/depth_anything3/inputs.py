"""Checks of the images and cameras that a user passes to `DepthAnything3.inference`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynamic_predictor.depth_anything3.pose_alignment import homogeneous
from scene.errors import InputError
from scene.frames import list_images


def as_list(images: Any) -> list[Any]:
    """One image, several, or those in a folder in natural order, as a list. Raises `InputError` if there are none."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        files = list_images(Path(images))
        if not files:
            raise InputError(f"{images} holds no images; give a folder of images, or their paths.")
        return list(files)
    if isinstance(images, np.ndarray | torch.Tensor):
        several = list(images) if images.ndim == 4 else [images]
    else:
        several = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    if not several:
        raise InputError("There are no images; give at least one.")
    return several


def checked_cameras(
    extrinsics: Any, intrinsics: Any, count: int | None = None, names: tuple[str, str] = ("extrinsics", "intrinsics")
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Known cameras, called `names` in messages, as float64 `camera_from_world` (N, 4, 4) and intrinsics (N, 3, 3).

    Raises `InputError` for wrong shapes or values, and another number than `count` images (None: any).
    """
    poses = _checked_matrices(names[0], extrinsics, count, ((3, 4), (4, 4)))
    matrices = _checked_matrices(names[1], intrinsics, count, ((3, 3),))
    if poses is not None:
        poses = homogeneous(poses)
        rotation = poses[:, :3, :3]
        error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        if error.max() > 1e-2 or (np.linalg.det(rotation) < 0).any():
            raise InputError(
                f"Matrix {int(error.argmax())} of the {names[0]} has no rotation in it; give camera from world "
                "matrices with OpenCV axes (x right, y down, z forward)."
            )
    if matrices is not None and (matrices[:, [0, 1], [0, 1]] <= 0).any():
        raise InputError(f"Focal lengths in the {names[1]} must be above zero.")
    return poses, matrices


def _checked_matrices(
    name: str, values: Any, count: int | None, shapes: tuple[tuple[int, int], ...]
) -> np.ndarray | None:
    if values is None:
        return None
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, np.float64)
    if array.ndim == 4 and len(array) == 1:  # a batch of one scene
        array = array[0]
    if array.ndim != 3 or not len(array) or array.shape[1:] not in shapes:
        wanted = " or ".join(f"(N, {rows}, {columns})" for rows, columns in shapes)
        raise InputError(f"The {name} have the shape {array.shape}; give {wanted}, one for each camera.")
    if count is not None and len(array) != count:
        raise InputError(f"There are {len(array)} {name} for {count} images; give one for each image.")
    if not np.isfinite(array).all():
        raise InputError(f"The {name} hold values that are not finite.")
    return array

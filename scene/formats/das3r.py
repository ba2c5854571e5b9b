"""Scenes that DAS3R (Xu et al., 2024) wrote, as it leaves them and as its rearranging scripts leave them.

The predictor writes into one folder

    pred_traj.txt            index x y z qw qx qy qz, world_from_camera: w FIRST, unlike TUM
    pred_intrinsics.txt      nine numbers per frame, the 3x3 matrix by rows
    frame_0000.png, .npy     picture and depth
    conf_0.npy               logarithm of the depth's confidence (1 or more), -inf = cleared
    dyna_avg_0.npy           probability of motion
    dynamic_mask_0.png       the same, thresholded

and the rearranged layout has images/, depth_maps/, confidence_maps/, dyna_avg/ and dynamic_masks/ with four digits.

Its depth belongs to rays through whole pixel numbers, so 0.5 is added to the principal point here, where pixel centres
are at +0.5. Its confidence c >= 1 becomes 1 - 1 / c.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scene.arrays import check_npy, known, read_npy
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.text import check_file, read_rows
from scene.formats.tum import poses_from_rows
from scene.frames import ImageFolderFrames, natural_order
from scene.maps import LoadedMaps
from scene.pictures import read_picture
from scene.scene import Scene


def is_das3r(folder: str | Path) -> bool:
    """Whether `folder` looks like a scene that DAS3R wrote, in either layout."""
    folder = Path(folder)
    return (folder / "pred_traj.txt").is_file() and (folder / "pred_intrinsics.txt").is_file()


def read_das3r(folder: str | Path) -> Scene:
    """Reads such a folder, in either layout; maps are read when used.

    Motion masks are the probabilities where they were kept, else the thresholded pictures. Raises `InputError` when a
    file is missing or does not fit the others.
    """
    folder = Path(folder)
    if not is_das3r(folder):
        raise InputError(f"{folder} is no scene of DAS3R: it needs pred_traj.txt and pred_intrinsics.txt.")
    rearranged = (folder / "images").is_dir()
    trajectory_path, intrinsics_path = folder / "pred_traj.txt", folder / "pred_intrinsics.txt"
    rows = read_rows(trajectory_path, columns=8)
    poses = poses_from_rows(trajectory_path, rows[:, 1:4], rows[:, 4:8])
    matrices = read_rows(intrinsics_path, columns=9).reshape(-1, 3, 3)
    count = len(poses)
    if len(matrices) != count:
        raise InputError(f"{intrinsics_path} has {len(matrices)} lines for {count} poses in pred_traj.txt.")
    images = _numbered(folder / "images" if rearranged else folder, "frame", "png", count)
    frames = ImageFolderFrames(images)
    shape = (frames.height, frames.width)
    depths = _numbered(folder / "depth_maps" if rearranged else folder, "frame", "npy", count)
    confidences = _numbered(folder / "confidence_maps" if rearranged else folder, "conf", "npy", count)
    for path in (*depths, *confidences):
        check_npy(path, shape)
    return Scene(
        frames=frames,
        cameras=[_camera(intrinsics_path, *shape, *pair) for pair in zip(matrices, poses, strict=True)],
        motion_masks=LoadedMaps(count, _motion(folder, rearranged, count, shape)),
        z_depths=LoadedMaps(count, lambda index: known(read_npy(depths[index], shape))),
        confidences=LoadedMaps(count, lambda index: _confidence(read_npy(confidences[index], shape))),
        predictor="das3r",
        provenance={"layout": "rearranged" if rearranged else "as written by the predictor"},
    )


def _numbered(folder: Path, stem: str, suffix: str, count: int) -> list[Path]:
    """The `count` files stem_0, stem_1, ... of a folder, whatever the number of digits, in order."""
    pattern = re.compile(rf"{re.escape(stem)}_\d+\.{suffix}")
    found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)] if folder.is_dir() else []
    if len(found) != count:
        raise InputError(f"{folder} has {len(found)} files {stem}_*.{suffix} for {count} poses in pred_traj.txt.")
    for path in found:
        check_file(path)
    return sorted(found, key=natural_order)


def _camera(path: Path, height: int, width: int, matrix: np.ndarray, pose: np.ndarray) -> Camera:
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if fx <= 0 or fy <= 0:
        raise InputError(f"{path} has a focal length that is not positive.")
    return Camera(width, height, float(fx), float(fy), float(cx) + 0.5, float(cy) + 0.5, pose)


def _motion(folder: Path, rearranged: bool, count: int, shape: tuple[int, int]) -> Callable[[int], np.ndarray]:
    probabilities_folder = folder / "dyna_avg" if rearranged else folder
    if probabilities_folder.is_dir() and any(probabilities_folder.glob("dyna_avg_*.npy")):
        probabilities = _numbered(probabilities_folder, "dyna_avg", "npy", count)
        for path in probabilities:
            check_npy(path, shape)
        return lambda index: np.clip(np.nan_to_num(read_npy(probabilities[index], shape)), 0.0, 1.0)
    pictures = _numbered(folder / "dynamic_masks" if rearranged else folder, "dynamic_mask", "png", count)

    def load(index: int) -> np.ndarray:
        mask = read_picture(pictures[index]).max(axis=2)
        if mask.shape != shape:
            raise InputError(f"{pictures[index]} is {mask.shape[1]}x{mask.shape[0]}, unlike the frames.")
        return (mask > 127).astype(np.float32)

    return load


def _confidence(logarithm: np.ndarray) -> np.ndarray:
    return known(1.0 - np.exp(-np.maximum(np.nan_to_num(logarithm, nan=0.0, neginf=0.0), 0.0)))

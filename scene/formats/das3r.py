"""das3r: scenes in the two layouts of DAS3R (Xu et al., 2024).

Its predictor writes into one folder

    pred_traj.txt            index x y z qw qx qy qz, world_from_camera: w FIRST, unlike TUM
    pred_intrinsics.txt      nine numbers per frame, the 3x3 matrix by rows
    frame_0000.png, .npy     image and depth
    conf_0.npy               logarithm of the depth's confidence c >= 1, -inf = not to be used
    dyna_avg_0.npy           probability of motion, mean over pairs of frames; dyna_max_0.npy: the largest
    dynamic_mask_0.png       255 where the mean is above one half

and its scripts rearrange that into images/, depth_maps/, confidence_maps/, dyna_avg/ and dynamic_masks/, numbered with
four digits. DAS3R has pixel centers at whole numbers and we at +0.5, so 0.5 is added to its principal point. Its
confidence c becomes 1 - 1 / c.
"""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import check_npy, known, read_npy
from scene.files.atomic import atomic_folder
from scene.files.text import check_file, read_rows
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.tum import poses_from_rows
from scene.frame_files import frame_writer
from scene.frames import ImageFolderFrames, natural_order
from scene.images import read_image, write_png
from scene.maps import LoadedMaps
from scene.progress import Progress, ignore_progress
from scene.rotations import quaternion_from_rotation
from scene.scene import Scene

#: c for our largest confidence, 1, which 1 - 1 / c never reaches
_LARGEST_CONFIDENCE = 1e4


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes das3r/ as DAS3R's predictor does; replaces an earlier one."""
    write_das3r(source.with_unit_confidences(), folder / "das3r", overwrite=True, progress=progress)


def is_das3r(folder: str | Path) -> bool:
    """Whether `folder` has the trajectory and intrinsics of a scene of DAS3R, in either layout."""
    folder = Path(folder)
    return (folder / "pred_traj.txt").is_file() and (folder / "pred_intrinsics.txt").is_file()


def read_das3r(folder: str | Path) -> Scene:
    """Reads a scene in either layout; maps are read when used.

    Motion masks are the probabilities in dyna_avg, or the thresholded dynamic_mask where these were not kept. Raises
    `InputError` when a file is missing or does not fit the others.
    """
    folder = Path(folder)
    if not is_das3r(folder):
        raise InputError(f"{folder} is not a scene of DAS3R: it needs pred_traj.txt and pred_intrinsics.txt.")
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


def write_das3r(
    scene: Scene, folder: str | Path, *, overwrite: bool = False, progress: Progress = ignore_progress
) -> None:
    """Writes `scene` in the layout of DAS3R's predictor, whole or not at all.

    Unknown depth gets confidence -inf. Without confidences, known depth gets the largest one; without motion masks,
    everything is static. `dyna_max` equals `dyna_avg` and `init_conf` equals `conf`, since a scene has one of each.
    DAS3R's GIF of the depth maps is not written. Raises `InputError` for a scene without depth, and when `folder`
    exists and `overwrite` is not set.
    """
    if scene.z_depths is None:
        raise InputError("The scene has no depth, which the layout of DAS3R needs; use a predictor of depth.")
    write_frame = frame_writer(scene.frames)
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for index in range(len(scene.frames)):
            z_depth = known(scene.z_depths[index])
            np.save(temporary / f"frame_{index:04d}.npy", z_depth)
            write_frame(index, temporary / f"frame_{index:04d}.png")
            confidence = _stored_confidence(scene, index, z_depth)
            motion = np.zeros_like(z_depth)
            if scene.motion_masks is not None:
                motion = np.clip(np.nan_to_num(scene.motion_masks[index]), 0.0, 1.0).astype(np.float32)
            arrays = {"conf": confidence, "init_conf": confidence, "dyna_avg": motion, "dyna_max": motion}
            for name, array in arrays.items():
                np.save(temporary / f"{name}_{index}.npy", array)
            mask = np.where(motion > 0.5, 255, 0).astype(np.uint8)
            write_png(temporary / f"dynamic_mask_{index}.png", mask)
            enlarged = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            write_png(temporary / f"enlarged_dynamic_mask_{index}.png", enlarged)
            progress("saving the scene", index + 1, len(scene.frames))
        _write_cameras(temporary, scene.cameras)


def _stored_confidence(scene: Scene, index: int, z_depth: np.ndarray) -> np.ndarray:
    confidence = known(scene.confidences[index]) if scene.confidences is not None else np.ones_like(z_depth)
    logarithm = -np.log(np.maximum(1.0 - confidence, 1.0 / _LARGEST_CONFIDENCE))
    return np.where((z_depth > 0) & (confidence > 0), logarithm, -np.inf).astype(np.float32)


def _write_cameras(folder: Path, cameras: list[Camera]) -> None:
    poses = np.array([camera.world_from_camera for camera in cameras])
    wxyz = quaternion_from_rotation(poses[:, :3, :3])
    rows = np.column_stack([np.arange(len(poses), dtype=np.float64), poses[:, :3, 3], wxyz])
    lines = (" ".join(np.format_float_positional(x, trim="0") for x in row) for row in rows)
    (folder / "pred_traj.txt").write_text("\n".join(lines) + "\n")
    matrices = np.array([camera.intrinsics for camera in cameras])
    matrices[:, :2, 2] -= 0.5
    np.savetxt(folder / "pred_intrinsics.txt", matrices.reshape(-1, 9), fmt="%.6f")
    np.savetxt(folder / "pred_focal.txt", matrices[:, 0, 0], fmt="%.6f")


def _numbered(folder: Path, stem: str, suffix: str, count: int) -> list[Path]:
    """The files stem_0, stem_1, ... (any number of digits) in order. Raises `InputError` unless there are `count`."""
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
    images = _numbered(folder / "dynamic_masks" if rearranged else folder, "dynamic_mask", "png", count)

    def load(index: int) -> np.ndarray:
        mask = read_image(images[index]).max(axis=2)
        if mask.shape != shape:
            raise InputError(f"{images[index]} is {mask.shape[1]}x{mask.shape[0]}, unlike the frames.")
        return (mask > 127).astype(np.float32)

    return load


def _confidence(logarithm: np.ndarray) -> np.ndarray:
    return known(1.0 - np.exp(-np.maximum(np.nan_to_num(logarithm, nan=0.0, neginf=0.0), 0.0)))

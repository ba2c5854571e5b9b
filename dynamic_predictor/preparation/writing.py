"""Writes frames in the processed layout of a row of the table of training sets: the reverse of its reader."""

from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.preparation.frames import RawFrame
from dynamic_predictor.training.datasets.array_formats import write_exr
from dynamic_predictor.training.datasets.frame_files import FrameFiles
from dynamic_predictor.training.datasets.spec import CameraFiles, DepthFiles, TrainingSetSpec
from scene.errors import InputError
from scene.images import write_jpeg, write_png
from scene.rotations import is_rigid

_MAX_STORED = 65535


def write_frame(spec: TrainingSetSpec, folder: Path, frame: RawFrame) -> None:
    """Writes image, depth and, where cameras have files of their own, the camera of a frame into its scene's folder.

    Raises `InputError` for poses that are no rigid motion, intrinsics that are not finite, and sizes that differ.
    """
    if not is_rigid(frame.world_from_camera) or not np.isfinite(frame.intrinsics).all():
        raise InputError(f"Frame {frame.name} has a pose or intrinsics that are not valid; the raw data is damaged.")
    if frame.z_depth.shape != frame.image.shape[:2]:
        raise InputError(f"Frame {frame.name} has depth of another size than its image; the raw data is damaged.")
    files = FrameFiles(folder, frame.run, frame.name)
    image = _made(files.path(spec.image))
    (write_jpeg if image.suffix == ".jpg" else write_png)(image, frame.image)
    entries = _camera_entries(spec.cameras, frame)
    if spec.depth is not None:
        largest = float(frame.z_depth[np.isfinite(frame.z_depth)].max(initial=0.0))
        if spec.depth.largest_entry:
            entries[spec.depth.largest_entry] = np.array(largest, np.float32)
        _write_depth(spec.depth, _made(files.path(spec.depth.path)), frame.z_depth, largest)
        if spec.depth.object_mask and frame.object_mask is not None:
            write_png(_made(files.path(spec.depth.object_mask)), frame.object_mask)
    if spec.cameras.path:
        with _made(files.path(spec.cameras.path)).open("wb") as stream:
            np.savez(stream, **entries)  # type: ignore[arg-type]


def stored_intrinsics(cameras: CameraFiles, frame: RawFrame) -> np.ndarray:
    """Intrinsics in the form of the row, with pixel centers at integers."""
    matrix = frame.intrinsics.copy()
    matrix[:2, 2] -= 0.5
    if cameras.form != "pinhole":
        return matrix
    height, width = frame.z_depth.shape
    return np.array([width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]])


def _camera_entries(cameras: CameraFiles, frame: RawFrame) -> dict[str, np.ndarray]:
    pose = frame.world_from_camera
    if isinstance(cameras.pose, str):
        poses = {cameras.pose: pose}
    else:
        poses = dict(zip(cameras.pose, (pose[:3, :3], pose[:3, 3]), strict=True))
    return {cameras.intrinsics: stored_intrinsics(cameras, frame), **poses}


def _write_depth(depth: DepthFiles, path: Path, z_depth: np.ndarray, largest: float) -> None:
    sky = np.isinf(z_depth)
    factor = _MAX_STORED / largest if depth.largest_entry and largest else depth.divisor
    values = np.where(sky, np.float32(0), z_depth) * np.float32(factor)
    if path.suffix == ".png":
        stored = np.rint(values)
        stored[stored > _MAX_STORED] = 0
        stored[sky] = _MAX_STORED if np.isfinite(depth.sky_from) else 0
        path.write_bytes(cv2.imencode(".png", stored.astype(np.uint16))[1].tobytes())
    elif path.suffix == ".exr":
        write_exr(path, values)
    else:
        np.save(path, values.astype(np.float32))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

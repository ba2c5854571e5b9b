"""Raw folders of ARKitScenes, in low and high resolution of depth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from dynamic_predictor.evaluation.datasets.depth_files import read_depth_image
from dynamic_predictor.preparation.frames import RawFrame, measured, nearest, pinhole, turned
from dynamic_predictor.preparation.videos import folders_with
from scene.errors import InputError
from scene.files.text import read_rows
from scene.images import read_image

#: seconds between a depth map and the intrinsics and image that go with it
_INTRINSICS_TOLERANCE, _IMAGE_TOLERANCE = 0.1, 0.0015


def arkitscenes_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "Training/*", "lowres_depth")


def arkitscenes_highres_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "Training/*", "highres_depth")


def arkitscenes_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    return _frames(raw / scene, "lowres_depth")


def arkitscenes_highres_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    return _frames(raw / scene, "highres_depth")


def _frames(folder: Path, depth_folder: str) -> Iterator[RawFrame]:
    """vga_wide, the depth folder (millimeters), vga_wide_intrinsics (width, height, fx, fy, cx, cy per file), and
    lowres_wide.traj, whose rows are a time and camera from world as rotation vector and translation. Files are named
    SCENE_SECONDS. Poses are interpolated at the time of the depth; scenes are turned upright."""
    trajectory = read_rows(folder / "lowres_wide.traj", 7)
    times, unique = np.unique(trajectory[:, 0], return_index=True)
    if len(times) < 2:
        raise InputError(f"{folder / 'lowres_wide.traj'} has fewer than two poses; download the scene again.")
    rotations = Rotation.from_rotvec(trajectory[unique, 1:4]).inv()
    centers = -rotations.apply(trajectory[unique, 4:7])
    rotation_at = Slerp(times, rotations)
    quarters = quarters_to_upright(rotations.as_matrix())
    images, intrinsics = _by_time(folder / "vga_wide", ".png"), _by_time(folder / "vga_wide_intrinsics", ".pincam")
    for seconds, depth_path in sorted(_by_time(folder / depth_folder, ".png").items()):
        if not times[0] <= seconds <= times[-1]:
            continue
        image_path = _closest(images, seconds, _IMAGE_TOLERANCE)
        camera_path = _closest(intrinsics, seconds, _INTRINSICS_TOLERANCE)
        if image_path is None or camera_path is None:
            continue
        image = read_image(image_path)
        height, width = image.shape[:2]
        pose = np.eye(4)
        pose[:3, :3] = rotation_at(seconds).as_matrix()
        pose[:3, 3] = [np.interp(seconds, times, centers[:, axis]) for axis in range(3)]
        frame = RawFrame(
            depth_path.stem,
            image,
            nearest(measured(read_depth_image(depth_path, 1000)), width, height),
            pinhole(*read_rows(camera_path, 6)[0, 2:], centers=0.0),
            pose,
        )
        yield turned(frame, quarters)


def quarters_to_upright(rotations: np.ndarray) -> int:
    """Counterclockwise quarters by which images are turned so that up in the world, +z, is up in them, for rotations
    of world from camera (N, 3, 3)."""
    up, right = -rotations[:, 2, 1].mean(), rotations[:, 2, 0].mean()
    if abs(up) >= abs(right):
        return 0 if up > 0 else 2
    return 1 if right > 0 else 3


def _by_time(folder: Path, suffix: str) -> dict[float, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; download the scene again.")
    found = {}
    for path in folder.glob(f"*{suffix}"):
        try:
            found[float(path.name.removesuffix(suffix).split("_")[1])] = path
        except (IndexError, ValueError):
            raise InputError(f"{path} is not named SCENE_SECONDS{suffix}; download the scene again.") from None
    return found


def _closest(paths: dict[float, Path], seconds: float, tolerance: float) -> Path | None:
    if not paths:
        return None
    best = min(paths, key=lambda time: abs(time - seconds))
    return paths[best] if abs(best - seconds) <= tolerance else None

"""Scenes on the disk: one folder per scene, written whole or not at all, checked when it is read.

scene.json               schema version, predictor, provenance, frames, which files exist
cameras.json             per frame: size, fx, fy, cx, cy, world_from_camera (4x4)
images/00000.png         the frames
motion_masks/00000.png   8 bit, round(255 p), 255 = moves
depth/00000.npz          z_depth and confidence, float32 (H, W); 0 = unknown
sparse/0/                COLMAP model of the same cameras and points (bin and txt)
trajectory.txt           TUM, world_from_camera
"""

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.lib import format as npy
from PIL import Image

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import check_npz, known, npz_maps
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json
from scene.files.text import check_file, finite_array
from scene.formats.colmap import read_colmap, write_colmap
from scene.formats.colmap_tracks import Visibility, observe, on_surface
from scene.formats.das3r import is_das3r
from scene.formats.tum import write_tum
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.maps import FrameMaps, LoadedMaps
from scene.progress import Progress, ignore_progress
from scene.rotations import is_rigid
from scene.scene import PointCloud, Scene

SCHEMA_VERSION = 1
_MAX_FRAMES = 1_000_000
#: how many points are taken from the depth maps for the COLMAP model of a scene that has no points of its own
_DEPTH_POINTS = 20_000


def save_scene(
    scene: Scene, folder: str | Path, *, overwrite: bool = False, progress: Progress = ignore_progress
) -> None:
    """Writes `scene` into `folder`, whole or not at all.

    Raises `InputError` when `folder` exists and `overwrite` is not set, when it exists and is not a scene (ours or
    DAS3R's), and when the disk is full or cannot be written to; `ValueError` when the scene is inconsistent.
    """
    folder = Path(folder)
    _check_consistent(scene)
    if overwrite:
        _refuse_to_replace_other_things(folder)
    count = len(scene.frames)
    names = [f"{index:05d}.png" for index in range(count)]
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        (temporary / "images").mkdir()
        if scene.motion_masks is not None:
            (temporary / "motion_masks").mkdir()
        if scene.z_depths is not None:
            (temporary / "depth").mkdir()
        for index, name in enumerate(names):
            write_png(temporary / "images" / name, scene.frames.rgb8(index))
            if scene.motion_masks is not None:
                mask = np.nan_to_num(scene.motion_masks[index])
                write_png(temporary / "motion_masks" / name, np.rint(np.clip(mask, 0.0, 1.0) * 255.0).astype(np.uint8))
            if scene.z_depths is not None:
                maps = {"z_depth": known(scene.z_depths[index])}
                if scene.confidences is not None:
                    maps["confidence"] = known(scene.confidences[index])
                _write_npz((temporary / "depth" / name).with_suffix(".npz"), maps)
            progress("saving the scene", index + 1, count)
        timestamps = [float(time) for time in scene.frames.timestamps]
        _write_json(
            temporary / "scene.json",
            {
                "schema_version": SCHEMA_VERSION,
                "predictor": scene.predictor,
                "width": scene.frames.width,
                "height": scene.frames.height,
                "frames": [{"file": n, "timestamp": t} for n, t in zip(names, timestamps, strict=True)],
                "files": {
                    "images": True,
                    "motion_masks": scene.motion_masks is not None,
                    "z_depth": scene.z_depths is not None,
                    "confidence": scene.z_depths is not None and scene.confidences is not None,
                    "points": scene.points is not None,
                },
                "provenance": scene.provenance,
            },
        )
        _write_cameras(temporary, names, scene, scene.cameras, timestamps)


def load_scene(folder: str | Path) -> Scene:
    """Reads the scene in `folder`. All files are checked to be there with the right sizes; maps are read when used.

    Raises `InputError`, one sentence that names the file, on anything that is missing, broken or inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}; give a scene folder.")
    path = folder / "scene.json"
    if not path.exists():
        raise InputError(f"{folder} is not a scene folder: it has no scene.json.")
    description = read_json(path)
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version!r}, but this program reads version {SCHEMA_VERSION}; "
            "make the scene again or use a matching release."
        )
    names, timestamps = _read_frame_list(path, description)
    width, height = (_whole_number(path, description, key, 1, 1 << 16) for key in ("width", "height"))
    files = description.get("files")
    if not isinstance(files, dict):
        raise InputError(f"{path} has no list of files; the scene is damaged, make it again.")
    cameras = read_cameras(folder / "cameras.json", names, width, height)
    images = [folder / "images" / name for name in names]
    for image in images:
        _check_image(image, width, height)
    motion_masks = z_depths = confidences = points = None
    if files.get("motion_masks"):
        motion_masks = _masks(folder, names, width, height)
    if files.get("z_depth"):
        depths = [(folder / "depth" / name).with_suffix(".npz") for name in names]
        keys = ["z_depth", "confidence"] if files.get("confidence") else ["z_depth"]
        for depth in depths:
            check_npz(depth, keys, (height, width))
        z_depths = npz_maps(depths, "z_depth", (height, width))
        if files.get("confidence"):
            confidences = npz_maps(depths, "confidence", (height, width))
    if files.get("points"):
        points = read_colmap(folder / "sparse" / "0").points
    provenance = description.get("provenance")
    return Scene(
        frames=ImageFolderFrames(images, timestamps),
        cameras=cameras,
        motion_masks=motion_masks,
        z_depths=z_depths,
        confidences=confidences,
        points=points,
        predictor=str(description.get("predictor", "")),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def replace_cameras(folder: str | Path, cameras: Sequence[Camera], note: str) -> None:
    """Puts refined `cameras` into the scene at `folder`: cameras.json, sparse/0 and trajectory.txt, all or none.

    The cameras that the predictor found stay as cameras_predicted.json; `note`, a sentence that says who refined them,
    is appended to `camera_notes` in scene.json.
    """
    folder = Path(folder)
    scene = load_scene(folder)
    if len(cameras) != len(scene.cameras):
        raise ValueError(f"{len(cameras)} cameras for {len(scene.cameras)} frames")
    _check_cameras(cameras, scene.frames.width, scene.frames.height)
    description = read_json(folder / "scene.json")
    description["camera_notes"] = [*description.get("camera_notes", []), note]
    with atomic_folder(folder, overwrite=True) as temporary:
        replaced = {"scene.json", "cameras.json", "trajectory.txt", "sparse"}
        for item in sorted(folder.iterdir()):
            if item.name in replaced:
                continue
            if item.is_dir():
                shutil.copytree(item, temporary / item.name, copy_function=_link_or_copy, symlinks=True)
            else:
                _link_or_copy(str(item), str(temporary / item.name))
        if not (temporary / "cameras_predicted.json").exists():
            shutil.copyfile(folder / "cameras.json", temporary / "cameras_predicted.json")
        _write_json(temporary / "scene.json", description)
        names = [path.name for path in _image_folder(scene).paths]
        _write_cameras(temporary, names, scene, cameras, scene.frames.timestamps)


def read_cameras(path: str | Path, names: Sequence[str], width: int, height: int) -> list[Camera]:
    """The cameras of a cameras.json, one for each of the frames `names` of `width` x `height` pixels."""
    path = Path(path)
    entries = read_json(path).get("frames")
    if not isinstance(entries, list):
        raise InputError(f'{path} has no list "frames"; the file is damaged.')
    if len(entries) != len(names):
        raise InputError(f"{path} has {len(entries)} cameras for {len(names)} frames; the scene is inconsistent.")
    cameras = []
    for index, (entry, name) in enumerate(zip(entries, names, strict=True)):
        if not isinstance(entry, dict) or entry.get("file") != name:
            raise InputError(f"{path}: camera {index} does not belong to {name}; the scene is inconsistent.")
        if (entry.get("width"), entry.get("height")) != (width, height):
            raise InputError(
                f"{path}: the camera of {name} is for {entry.get('width')}x{entry.get('height')} pixels but the "
                f"frames have {width}x{height}."
            )
        intrinsics = [entry.get(key) for key in ("fx", "fy", "cx", "cy")]
        fx, fy, cx, cy = finite_array(intrinsics, (4,), f"the intrinsics of {name}", path).tolist()
        if fx <= 0 or fy <= 0:
            raise InputError(f"{path}: the focal length of {name} is not positive.")
        matrix = finite_array(entry.get("world_from_camera"), (4, 4), f"world_from_camera of {name}", path)
        if not is_rigid(matrix):
            raise InputError(f"{path}: world_from_camera of {name} is not a rigid motion.")
        cameras.append(Camera(width, height, fx, fy, cx, cy, matrix))
    return cameras


def _check_consistent(scene: Scene) -> None:
    count = len(scene.frames)
    if len(scene.cameras) != count:
        raise ValueError(f"{len(scene.cameras)} cameras for {count} frames")
    for what, maps in (
        ("motion masks", scene.motion_masks),
        ("depths", scene.z_depths),
        ("confidences", scene.confidences),
    ):
        if maps is not None and len(maps) != count:
            raise ValueError(f"{len(maps)} {what} for {count} frames")
        shape = maps[0].shape if maps is not None and count else None
        if shape is not None and shape != (scene.frames.height, scene.frames.width):
            raise ValueError(f"{what} of shape {shape} for frames of {scene.frames.height}x{scene.frames.width}")
    _check_cameras(scene.cameras, scene.frames.width, scene.frames.height)


def _check_cameras(cameras: Sequence[Camera], width: int, height: int) -> None:
    for index, camera in enumerate(cameras):
        if (camera.width, camera.height) != (width, height):
            raise ValueError(f"camera {index} is for {camera.width}x{camera.height}, frames are {width}x{height}")
        if not is_rigid(camera.world_from_camera) or not np.isfinite(camera.intrinsics).all():
            raise ValueError(f"camera {index} is not a finite rigid pinhole camera")


def _refuse_to_replace_other_things(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "scene.json").exists() and not is_das3r(folder):
        raise InputError(f"{folder} holds other things than a scene and is not replaced; choose another place.")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def _plain(value: Any) -> Any:
    """What JSON can say of a value: numpy things become lists and numbers, numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    return str(value)


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # numpy's own savez_compressed has no choice of level; level 1 is four times faster and hardly larger.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                npy.write_array(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)


def _write_cameras(
    folder: Path, names: Sequence[str], scene: Scene, cameras: Sequence[Camera], timestamps: Sequence[float]
) -> None:
    entries = [
        {
            "file": name,
            "width": camera.width,
            "height": camera.height,
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
            "world_from_camera": camera.world_from_camera,
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    _write_json(folder / "cameras.json", {"frames": entries})
    points = scene.points if scene.points is not None else _points_from_depth(scene, cameras)
    observations = None
    if points is not None:
        observations = observe(cameras, np.asarray(points.positions, np.float64), _visibility(scene))
    write_colmap(folder / "sparse" / "0", names, cameras, points, observations)
    write_tum(folder / "trajectory.txt", timestamps, np.array([camera.world_from_camera for camera in cameras]))


def _points_from_depth(scene: Scene, cameras: Sequence[Camera]) -> PointCloud | None:
    """Static points on a coarse grid of the depth maps, for readers of the COLMAP model; None without depth."""
    if scene.z_depths is None or not cameras:
        return None
    height, width = scene.frames.height, scene.frames.width
    step = max(1, round((height * width * len(cameras) / _DEPTH_POINTS) ** 0.5))
    positions, colors = [], []
    for index, camera in enumerate(cameras):
        z_depth = known(scene.z_depths[index])
        keep = z_depth > 0
        if scene.motion_masks is not None:
            keep &= scene.motion_masks[index] < 0.5
        grid = np.zeros_like(keep)
        grid[step // 2 :: step, step // 2 :: step] = True
        keep &= grid
        positions.append(camera.unproject(z_depth)[keep])
        colors.append(scene.frames.rgb8(index)[keep])
    merged = np.concatenate(positions).astype(np.float32)
    return PointCloud(merged, np.concatenate(colors)) if len(merged) else None


def _visibility(scene: Scene) -> Visibility | None:
    """Says which points the depth map of a frame has on its surface; None without depth."""
    z_depths = scene.z_depths
    if z_depths is None:
        return None
    return lambda index, pixels, z: on_surface(z_depths[index], pixels, z)


def _read_frame_list(path: Path, description: dict[str, Any]) -> tuple[list[str], list[float]]:
    entries = description.get("frames")
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_FRAMES:
        raise InputError(f"{path} has no sensible list of frames; the scene is damaged, make it again.")
    names, timestamps = [], []
    for index, entry in enumerate(entries):
        name = entry.get("file") if isinstance(entry, dict) else None
        time = entry.get("timestamp") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name != Path(name).name or not name.endswith(".png"):
            raise InputError(f"{path}: frame {index} has no plain file name; the scene is damaged.")
        if not isinstance(time, int | float) or not np.isfinite(time):
            raise InputError(f"{path}: frame {name} has no timestamp; the scene is damaged.")
        names.append(name)
        timestamps.append(float(time))
    return names, timestamps


def _whole_number(path: Path, description: dict[str, Any], key: str, smallest: int, largest: int) -> int:
    value = description.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise InputError(f"{path}: {key} is {value!r}, not a whole number from {smallest} to {largest}.")
    return value


def _check_image(path: Path, width: int, height: int) -> None:
    """Existence and size, from the header alone."""
    check_file(path)
    try:
        with Image.open(path) as image:
            size = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"{path} is damaged and cannot be read as a image.") from None
    if size != (width, height):
        raise InputError(f"{path} is {size[0]}x{size[1]} but the scene has {width}x{height}.")


def _masks(folder: Path, names: Sequence[str], width: int, height: int) -> FrameMaps:
    paths = [folder / "motion_masks" / name for name in names]
    for path in paths:
        _check_image(path, width, height)

    def load(index: int) -> np.ndarray:
        mask = cv2.imread(str(paths[index]), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != (height, width):
            raise InputError(f"{paths[index]} is damaged and cannot be read as a motion mask.")
        return mask.astype(np.float32) / 255.0

    return LoadedMaps(len(paths), load)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _image_folder(scene: Scene) -> ImageFolderFrames:
    assert isinstance(scene.frames, ImageFolderFrames)  # load_scene makes nothing else
    return scene.frames

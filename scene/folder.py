"""Scene folders: written whole or not at all, checked when they are read.

scene.json               schema version, predictor, provenance, frames, and which of the files below exist
cameras.json             per frame: size, fx, fy, cx, cy, world_from_camera (4x4)
images/00000.png         the frames
input/00000.png          the frames as the lens has seen them, where it distorts (`lens` in cameras.json says how)
distorted/sparse/0/      COLMAP model of input/
motion_masks/00000.png   8 bit, round(255 p), 255 = moves
motion_masks_predicted/  those of the predictor, where stillsplat run has refined them
observed/00000.png       8 bit, 255 = observed, 0 = not (transparent, border, caption); absent where all is observed
depth/00000.npz          z_depth and confidence, float32 (H, W); 0 = unknown
sparse/0/                COLMAP model of the same cameras and points (bin and txt)
trajectory.txt           TUM, world_from_camera
"""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from scene.camera import Camera
from scene.camera_files import read_cameras, read_lens, write_cameras
from scene.errors import InputError
from scene.files.arrays import check_npz, known, npz_maps
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json, write_json
from scene.files.output_place import check_output_folder
from scene.files.text import check_file
from scene.formats.colmap_reader import read_colmap
from scene.formats.registry import format_of_scene
from scene.frame_files import frame_name, frame_writer, link_or_copy
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.maps import FrameMaps, LoadedMaps, map_8_bit
from scene.media.image_header import read_header, stored_gray
from scene.progress import Progress, ignore_progress
from scene.rotations import is_rigid
from scene.scene import Scene

SCHEMA_VERSION = 1
_MAX_FRAMES = 1_000_000


def is_scene(folder: str | Path) -> bool:
    """Whether `folder` has the description of a scene, ours or of a format with a reader; it may be damaged."""
    folder = Path(folder).expanduser()
    return (folder / "scene.json").exists() or format_of_scene(folder) is not None


def save_scene(
    scene: Scene, folder: str | Path, *, overwrite: bool = False, progress: Progress = ignore_progress
) -> None:
    """Writes `scene` into `folder`, whole or not at all. Frames that are PNG files of ours already
    (`scene.frames.stored_pngs`) are hard-linked.

    Raises `InputError` when `folder` is a scene (`is_scene`) and `overwrite` is not set, when it holds anything
    else, and when the disk is full or cannot be written to; `ValueError` when the scene is inconsistent.
    """
    folder = Path(folder)
    _check_consistent(scene)
    check_output_folder(folder, holds="a scene", is_ours=is_scene, overwrite=overwrite)
    count = len(scene.frames)
    names = [frame_name(index) for index in range(count)]
    write_frame = frame_writer(scene.frames)
    write_input = None if scene.lens is None or scene.input_frames is None else frame_writer(scene.input_frames)
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        (temporary / "images").mkdir()
        if write_input is not None:
            (temporary / "input").mkdir()
        if scene.motion_masks is not None:
            (temporary / "motion_masks").mkdir()
        if scene.observed is not None:
            (temporary / "observed").mkdir()
        if scene.z_depths is not None:
            (temporary / "depth").mkdir()
        for index, name in enumerate(names):
            write_frame(index, temporary / "images" / name)
            if write_input is not None:
                write_input(index, temporary / "input" / name)
            if scene.motion_masks is not None:
                write_png(temporary / "motion_masks" / name, map_8_bit(scene.motion_masks[index]))
            if scene.observed is not None:
                write_png(temporary / "observed" / name, map_8_bit(scene.observed[index]))
            if scene.z_depths is not None:
                maps = {"z_depth": known(scene.z_depths[index])}
                if scene.confidences is not None:
                    maps["confidence"] = known(scene.confidences[index])
                _write_npz((temporary / "depth" / name).with_suffix(".npz"), maps)
            progress("saving the scene", index + 1, count)
        timestamps = [float(time) for time in scene.frames.timestamps]
        write_json(
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
                    "observed": scene.observed is not None,
                    "z_depth": scene.z_depths is not None,
                    "confidence": scene.z_depths is not None and scene.confidences is not None,
                    "points": scene.points is not None,
                },
                "provenance": scene.provenance,
            },
        )
        write_cameras(temporary, names, scene, scene.cameras)


def load_scene(folder: str | Path) -> Scene:
    """Reads the scene in `folder`. All files must exist with the right sizes; images and maps are read when used.

    Raises `InputError`, one sentence that names the file, for anything that is missing, damaged or inconsistent.
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
    lens, input_frames = read_lens(folder / "cameras.json", width, height), None
    if lens is not None:
        inputs = [folder / "input" / name for name in names]
        for image in inputs:
            _check_image(image, width, height)
        input_frames = ImageFolderFrames(inputs, timestamps, stored_as_png=True)
    motion_masks = observed = z_depths = confidences = points = None
    if files.get("motion_masks"):
        motion_masks = _maps_8_bit(folder / "motion_masks", names, width, height, "a motion mask")
    if files.get("observed"):
        observed = _maps_8_bit(folder / "observed", names, width, height, "a map of what was observed")
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
        frames=ImageFolderFrames(images, timestamps, stored_as_png=True),
        cameras=cameras,
        motion_masks=motion_masks,
        observed=observed,
        z_depths=z_depths,
        confidences=confidences,
        points=points,
        lens=lens,
        input_frames=input_frames,
        predictor=str(description.get("predictor", "")),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def replace_cameras(folder: str | Path, cameras: Sequence[Camera], note: str, *, scene: Scene | None = None) -> None:
    """Replaces the cameras of the scene at `folder` (cameras.json, sparse/0, trajectory.txt) by refined `cameras`; all
    files are replaced or none.

    The predicted cameras are kept as cameras_predicted.json. `note`, a sentence about the refinement, is appended to
    `camera_notes` in scene.json. `scene` is the scene in `folder`, where it was loaded already.
    """
    folder = Path(folder)
    scene = scene or load_scene(folder)
    if len(cameras) != len(scene.cameras):
        raise ValueError(f"{len(cameras)} cameras for {len(scene.cameras)} frames")
    _check_cameras(cameras, scene.frames.width, scene.frames.height)
    description = read_json(folder / "scene.json")
    notes = description.get("camera_notes", [])
    description["camera_notes"] = notes if notes[-1:] == [note] else [*notes, note]
    with atomic_folder(folder, overwrite=True) as temporary:
        replaced = {"scene.json", "cameras.json", "trajectory.txt", "sparse", "distorted"}
        for item in sorted(folder.iterdir()):
            if item.name in replaced:
                continue
            if item.is_dir():
                shutil.copytree(item, temporary / item.name, copy_function=link_or_copy, symlinks=True)
            else:
                link_or_copy(item, temporary / item.name)
        if not (temporary / "cameras_predicted.json").exists():
            shutil.copyfile(folder / "cameras.json", temporary / "cameras_predicted.json")
        write_json(temporary / "scene.json", description)
        names, _ = _read_frame_list(folder / "scene.json", description)
        write_cameras(temporary, names, scene, cameras)


def predicted_masks(folder: str | Path, scene: Scene) -> FrameMaps | None:
    """The motion masks that `replace_masks` has kept in `folder`, those of `scene`, which was loaded from it, where it
    has kept none."""
    kept = Path(folder) / "motion_masks_predicted"
    if not kept.is_dir():
        return scene.motion_masks
    names, _ = _read_frame_list(Path(folder) / "scene.json", read_json(Path(folder) / "scene.json"))
    return _maps_8_bit(kept, names, scene.frames.width, scene.frames.height, "a motion mask")


def replace_masks(
    folder: str | Path, masks: Mapping[int, np.ndarray], note: str, *, keep_predicted: bool = False
) -> None:
    """Replaces motion masks (H, W) of some frames of the scene at `folder`, by their indices; all of them or none.

    A scene without masks gets them, with nothing moving in the other frames. `note`, a sentence about the change, is
    appended to `mask_notes` in scene.json. With `keep_predicted`, the masks of before are kept in
    motion_masks_predicted/, unless there are some already. Raises `InputError` for a folder that is no scene of our
    layout.
    """
    folder = Path(folder)
    if not (folder / "scene.json").is_file():
        raise InputError(f"{folder} has no scene.json; masks can be saved only in a scene that stillsplat wrote.")
    description = read_json(folder / "scene.json")
    names, _ = _read_frame_list(folder / "scene.json", description)
    width = _whole_number(folder / "scene.json", description, "width", 1, 1 << 16)
    height = _whole_number(folder / "scene.json", description, "height", 1, 1 << 16)
    for index, mask in masks.items():
        if not 0 <= index < len(names) or mask.shape != (height, width):
            raise ValueError(f"mask {index} of shape {mask.shape} for {len(names)} frames of {height}x{width}")
    files = description.get("files")
    had_masks = isinstance(files, dict) and files.get("motion_masks") is True
    kept = folder / "motion_masks_predicted"
    if keep_predicted and had_masks and not kept.exists():
        with atomic_folder(kept) as temporary:
            for name in names:
                link_or_copy(folder / "motion_masks" / name, temporary / name)
    with atomic_folder(folder / "motion_masks", overwrite=True) as temporary:
        for index, name in enumerate(names):
            if index in masks or not had_masks:
                write_png(temporary / name, map_8_bit(masks.get(index, np.zeros((height, width), np.float32))))
            else:
                link_or_copy(folder / "motion_masks" / name, temporary / name)
    description["files"] = {**(files if isinstance(files, dict) else {}), "motion_masks": True}
    notes = description.get("mask_notes", [])
    description["mask_notes"] = notes if notes[-1:] == [note] else [*notes, note]
    write_json(folder / "scene.json", description)


def _check_consistent(scene: Scene) -> None:
    count = len(scene.frames)
    if len(scene.cameras) != count:
        raise ValueError(f"{len(scene.cameras)} cameras for {count} frames")
    for what, maps in (
        ("motion masks", scene.motion_masks),
        ("maps of what was observed", scene.observed),
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


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # numpy.savez_compressed always uses level 6; level 1 is four times faster and hardly larger
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                npy.write_array(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)


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
    """Raises `InputError` unless the image exists with this size; reads its header only."""
    check_file(path)
    header = read_header(path)
    size = (header.width, header.height)
    if size != (width, height):
        raise InputError(f"{path} is {size[0]}x{size[1]} but the scene has {width}x{height}.")


def _maps_8_bit(folder: Path, names: Sequence[str], width: int, height: int, what: str) -> FrameMaps:
    paths = [folder / name for name in names]
    for path in paths:
        _check_image(path, width, height)

    def load(index: int) -> np.ndarray:
        values = stored_gray(paths[index])
        if values.shape != (height, width):
            raise InputError(f"{paths[index]} is damaged and cannot be read as {what}.")
        return values.astype(np.float32) / 255.0

    return LoadedMaps(len(paths), load)

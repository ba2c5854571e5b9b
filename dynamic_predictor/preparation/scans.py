"""Raw folders of scanned and rendered rooms: ScanNet++ and Hypersim."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import trimesh

from dynamic_predictor.preparation.colmap_text import ColmapImage, read_colmap_text
from dynamic_predictor.preparation.frames import RawFrame, covering, measured, pinhole
from dynamic_predictor.preparation.mesh_depth import render_depth
from dynamic_predictor.preparation.videos import folders_with
from dynamic_predictor.training.datasets.array_formats import read_hdf5
from dynamic_predictor.training.datasets.frame_files import read_mask
from scene.errors import InputError
from scene.files.text import check_file, finite_array, read_text
from scene.frames import natural_order
from scene.images import read_image
from scene.rotations import is_rigid

_SCANNETPP_SIZE = (920, 690)
#: brightness of Hypersim: its 90th percentile becomes 0.8 after a gamma of 2.2
_PERCENTILE, _BRIGHTNESS, _GAMMA = 90, 0.8, 2.2
_FLIP = np.diag([1.0, -1.0, -1.0])


def scannetpp_scenes(raw: Path) -> list[str]:
    return [name.removeprefix("data/") for name in folders_with(raw, "data/*", "scans/mesh_aligned_0.05.ply")]


def scannetpp_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """data/SCENE with the mesh of the scan, and the images of a camera (dslr) and a phone (iphone), each with a COLMAP
    model and masks that are 255 where nothing was made unrecognizable. Depth is that of the mesh."""
    folder = raw / "data" / scene
    mesh_path = folder / "scans" / "mesh_aligned_0.05.ply"
    check_file(mesh_path, limit=1 << 34)
    try:
        mesh = trimesh.load_mesh(mesh_path, process=False)
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:
        raise InputError(f"{mesh_path} cannot be read as a mesh; download it again.") from error
    for device, images, masks in (
        ("dslr", "resized_images", "resized_anon_masks"),
        ("iphone", "rgb", "rgb_masks"),
    ):
        if not (folder / device).is_dir():
            continue
        model = read_colmap_text(folder / device / "colmap")
        for name in sorted(model, key=natural_order):
            image, mask = folder / device / images / name, folder / device / masks / f"{Path(name).stem}.png"
            if not image.is_file():
                continue
            pixels = read_image(image)
            frame = _undistorted(model[name], pixels, read_mask(mask, pixels.shape[:2]), Path(name).stem)
            frame = covering(frame, *_SCANNETPP_SIZE)
            rows, columns = frame.z_depth.shape
            camera_from_world = model[name].camera_from_world
            points = vertices @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
            z_depth = render_depth(points, faces, frame.intrinsics, columns, rows)
            shown = frame.z_depth > 0
            yield RawFrame(
                frame.name, frame.image, np.where(shown, z_depth, 0), frame.intrinsics, frame.world_from_camera
            )


def _undistorted(image: ColmapImage, pixels: np.ndarray, mask: np.ndarray, name: str) -> RawFrame:
    """The image of a pinhole camera, whose depth is 1 where the mask is complete and 0 elsewhere."""
    size = image.width, image.height
    if pixels.shape[1::-1] != size:
        raise InputError(f"{name} is not of the size {image.width}x{image.height} of its camera; download it again.")
    counts = {"OPENCV_FISHEYE": 8, "OPENCV": 8, "PINHOLE": 4}
    if len(image.parameters) != counts.get(image.model):
        raise InputError(
            f"{name} has a camera {image.model} with {len(image.parameters)} parameters, which is not read."
        )
    # COLMAP counts pixel centers at +0.5, OpenCV at integers
    fx, fy, cx, cy, *distortion = image.parameters
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    coefficients = np.array(distortion or [0.0] * 4)
    if image.model == "OPENCV_FISHEYE":
        new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(matrix, coefficients, size, np.eye(3), balance=0.0)
        new[:2, 2] = (size[0] - 1) / 2, (size[1] - 1) / 2
        maps = cv2.fisheye.initUndistortRectifyMap(matrix, coefficients, np.eye(3), new, size, cv2.CV_32FC1)
    else:
        new, _ = cv2.getOptimalNewCameraMatrix(matrix, coefficients, size, 1, size, True)
        maps = cv2.initUndistortRectifyMap(matrix, coefficients, np.eye(3), new, size, cv2.CV_32FC1)
    straight = cv2.remap(pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    complete = cv2.remap(mask, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=255.0)
    intrinsics = pinhole(new[0, 0], new[1, 1], new[0, 2], new[1, 2], centers=0.0)
    shown = (complete == 255).astype(np.float32)
    return RawFrame(name, straight, shown, intrinsics, np.linalg.inv(image.camera_from_world))


def hypersim_scenes(raw: Path) -> list[str]:
    """SCENE/cam_XX of the folders whose images are there."""
    found = raw.glob("*/images/scene_cam_*_final_hdf5")
    return [f"{path.parents[1].name}/{path.name.removeprefix('scene_').removesuffix('_final_hdf5')}" for path in found]


def hypersim_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """images/scene_cam_XX_{final,geometry}_hdf5, _detail with positions, orientations and the scale of the scene, and
    metadata_camera_parameters.csv of the set. Stored depth is the distance from the camera's center."""
    name, camera = scene.split("/")
    folder, detail = raw / name, raw / name / "_detail"
    intrinsics, (width, height) = _hypersim_intrinsics(raw / "metadata_camera_parameters.csv", name)
    scale = _hypersim_scale(detail / "metadata_scene.csv")
    key = "dataset"
    positions = read_hdf5(detail / camera / "camera_keyframe_positions.hdf5", [key])[key] * scale
    rotations = read_hdf5(detail / camera / "camera_keyframe_orientations.hdf5", [key])[key] @ _FLIP
    x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    stretch = np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2).astype(np.float32)
    geometry = folder / "images" / f"scene_{camera}_geometry_hdf5"
    for path in sorted((folder / "images" / f"scene_{camera}_final_hdf5").glob("frame.*.color.hdf5")):
        number = path.name.split(".")[1]
        color = read_hdf5(path, [key])[key].astype(np.float32)
        distance = read_hdf5(geometry / f"frame.{number}.depth_meters.hdf5", [key])[key].astype(np.float32)
        objects = read_hdf5(geometry / f"frame.{number}.render_entity_id.hdf5", [key])[key]
        if distance.shape != (height, width) or color.shape != (height, width, 3) or int(number) >= len(positions):
            raise InputError(f"{path} does not fit the cameras and the size of its scene; download the scene again.")
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotations[int(number)], positions[int(number)]
        if is_rigid(pose):
            image = _tone_mapped(color, objects != -1)
            yield RawFrame(f"{int(number):06d}", image, measured(distance / stretch), intrinsics, pose)


def _hypersim_intrinsics(path: Path, scene: str) -> tuple[np.ndarray, tuple[int, int]]:
    row = next((row for row in _csv(path) if row.get("scene_name") == scene), None)
    if row is None:
        raise InputError(f"{path} has no row for {scene}; download the file again.")
    try:
        width, height = (int(float(row[f"settings_output_img_{side}"])) for side in ("width", "height"))
        matrix = np.array([[float(row[f"M_proj_{i}{j}"]) for j in range(4)] for i in range(4)])
    except (KeyError, ValueError):
        raise InputError(f"{path} has no projection for {scene}; download the file again.") from None
    if matrix[0, 1] != 0:
        raise InputError(f"{scene} has a tilted lens, which is not a pinhole camera; leave the scene out.")
    fx, fy = matrix[0, 0] * width / 2, matrix[1, 1] * height / 2
    return pinhole(fx, fy, (1 - matrix[0, 2]) * width / 2, (1 + matrix[1, 2]) * height / 2), (width, height)


def _hypersim_scale(path: Path) -> float:
    values = {row.get("parameter_name"): row.get("parameter_value") for row in _csv(path)}
    try:
        value = float(values["meters_per_asset_unit"] or "")
    except (KeyError, ValueError):
        raise InputError(f"{path} has no meters_per_asset_unit; download the scene again.") from None
    return float(finite_array([value], (1,), "meters_per_asset_unit", path)[0])


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(path))))


def _tone_mapped(color: np.ndarray, shown: np.ndarray) -> np.ndarray:
    scale = 1.0
    if shown.any():
        bright = float(np.percentile((color @ np.array([0.3, 0.59, 0.11], np.float32))[shown], _PERCENTILE))
        scale = _BRIGHTNESS**_GAMMA / bright if bright >= 1e-4 else 0.0
    mapped = np.clip(np.nan_to_num(color * scale), 0, 1) ** (1 / _GAMMA)
    return np.rint(mapped * 255).astype(np.uint8)

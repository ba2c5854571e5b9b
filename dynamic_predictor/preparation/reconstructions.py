"""Raw folders of photo collections with reconstructed depth: BlendedMVS and MegaDepth."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.preparation.colmap_text import ColmapImage, read_colmap_text
from dynamic_predictor.preparation.frames import RawFrame, covering, measured, pinhole
from dynamic_predictor.preparation.running import SceneRecord
from dynamic_predictor.preparation.videos import folders_with
from dynamic_predictor.training.datasets.array_formats import read_hdf5, with_hdf5_writer
from dynamic_predictor.training.datasets.listing import SETS_FILE
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.text import check_file, read_text
from scene.images import read_image

_BLENDED_SIZE = (512, 384)
_MEGADEPTH_SIZE = (800, 600)
_SET_SIZE = 64
_MAX_PIXELS = 1 << 28


def blendedmvs_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "*", "rendered_depth_maps")


def blendedmvs_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """blended_images, rendered_depth_maps (PFM) and cams/NAME_cam.txt: camera from world and intrinsics."""
    folder = raw / scene
    for path in sorted((folder / "cams").glob("*_cam.txt")):
        name = path.name.removesuffix("_cam.txt")
        words = re.findall(r"[^\s]+", read_text(path))
        try:
            numbers = [float(word) for word in words if word not in ("extrinsic", "intrinsic")]
            pose, matrix = np.array(numbers[:16]).reshape(4, 4), np.array(numbers[16:25]).reshape(3, 3)
        except ValueError:
            raise InputError(f"{path} does not hold two matrices; download the scene again.") from None
        image = read_image(folder / "blended_images" / f"{name}.jpg")
        z_depth = measured(read_pfm(folder / "rendered_depth_maps" / f"{name}.pfm"))
        intrinsics = pinhole(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], centers=0.0)
        yield covering(RawFrame(name, image, z_depth, intrinsics, np.linalg.inv(pose)), *_BLENDED_SIZE)


def read_pfm(path: Path) -> np.ndarray:
    """A portable float map of one channel as float32 (H, W), from the top row down."""
    check_file(path, limit=4 * _MAX_PIXELS + 1024)
    content = path.read_bytes()
    match = re.match(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,32})\s", content)
    if match is None:
        raise InputError(f"{path} is not a portable float map of one channel; download the scene again.")
    width, height = int(match[1]), int(match[2])
    if len(content) - match.end() != 4 * width * height or not width * height:
        raise InputError(f"{path} has another length than its header says; download the scene again.")
    order = "<" if float(match[3]) < 0 else ">"
    values = np.frombuffer(content, f"{order}f4", offset=match.end()).reshape(height, width)
    return values[::-1].astype(np.float32)


def write_overlaps(raw: Path, out: Path, records: Sequence[SceneRecord]) -> None:
    """new_overlap.h5: per scene the names of its frames and a sparse matrix of overlaps."""

    def write(file) -> None:
        for record in records:
            group = file.create_group(record.scene)
            group["basenames"] = np.array(record.frames, dtype="S")
            group["indices"] = record.pairs[:, :2].T.astype(np.int64)
            group["values"] = record.pairs[:, 2].astype(np.float32)
            group.attrs["shape"] = (len(record.frames), len(record.frames))

    with_hdf5_writer(out / "new_overlap.h5", write)


def megadepth_scenes(raw: Path) -> list[str]:
    """SCENE/MODEL for every folder SCENE/denseMODEL with images and depth."""
    found = [path for path in raw.glob("*/dense*") if (path / "imgs").is_dir() and (path / "depths").is_dir()]
    return [f"{path.parent.name}/{path.name.removeprefix('dense')}" for path in found]


def megadepth_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """SCENE/denseMODEL/imgs and depths (HDF5), with the COLMAP model SCENE/sparse/manhattan/MODEL of the images before
    their distortion was removed; the intrinsics after that follow as in the published preparation."""
    name, model = scene.split("/")
    folder = raw / name / f"dense{model}"
    images = read_colmap_text(raw / name / "sparse" / "manhattan" / model)
    for tag in sorted(images):
        path = folder / "imgs" / tag
        depth_path = folder / "depths" / f"{Path(tag).stem}.h5"
        if not path.is_file() or not depth_path.is_file():
            continue
        image = read_image(path)
        z_depth = measured(read_hdf5(depth_path, ["depth"])["depth"])
        intrinsics = _undistorted_intrinsics(images[tag], image.shape[1::-1], path)
        frame = RawFrame(tag, image, z_depth, intrinsics, np.linalg.inv(images[tag].camera_from_world))
        if frame.z_depth.shape != image.shape[:2]:
            raise InputError(f"{depth_path} has another size than its image; download the scene again.")
        large, small = _MEGADEPTH_SIZE
        size = (large, small) if image.shape[1] >= image.shape[0] else (small, large)
        yield covering(frame, *size, enlarge=False)


def _undistorted_intrinsics(image: ColmapImage, size: tuple[int, int], path: Path) -> np.ndarray:
    if image.model != "SIMPLE_RADIAL" or len(image.parameters) != 4:
        raise InputError(f"{path} has a camera {image.model}, but MegaDepth has SIMPLE_RADIAL; download it again.")
    focal, cx, cy, radial = image.parameters
    matrix = np.array([[focal, 0, cx - 0.5], [0, focal, cy - 0.5], [0, 0, 1]])
    new, _ = cv2.getOptimalNewCameraMatrix(
        matrix,
        np.array([radial, 0.0, 0.0, 0.0]),
        (image.width, image.height),
        0,
        newImgSize=size,
        centerPrincipalPoint=True,
    )
    return pinhole(new[0, 0], new[1, 1], new[0, 2], new[1, 2], centers=0.0)


def write_sets(raw: Path, out: Path, records: Sequence[SceneRecord]) -> None:
    """megadepth_sets_64.npz: for each image with overlapping ones a set of 64, repeated where there are fewer."""
    scenes, images, sets, offset = [], [], [], 0
    for number, record in enumerate(records):
        scenes.append(record.scene.replace("/", " "))
        images += record.frames
        for first in range(len(record.frames)):
            others = record.pairs[record.pairs[:, 0] == first, 1].astype(np.int64)
            if len(others):
                sets.append([number, *(offset + np.resize([first, *others], _SET_SIZE))])
        offset += len(record.frames)
    with atomic_file(out / SETS_FILE) as temporary, temporary.open("wb") as stream:
        rows = np.array(sets, np.int64).reshape(-1, _SET_SIZE + 1)
        np.savez(stream, scenes=np.array(scenes), images=np.array(images), sets=rows)

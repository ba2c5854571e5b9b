"""Raw folders of rendered videos: Virtual KITTI 2, Spring, MVS-Synth, PointOdyssey."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.depth_files import read_depth_image
from dynamic_predictor.preparation.frames import RawFrame, measured, pinhole, resized
from dynamic_predictor.training.datasets.array_formats import read_exr, read_hdf5
from scene.errors import InputError
from scene.files.arrays import read_entries
from scene.files.json_files import read_json
from scene.files.text import finite_array, read_rows, read_text
from scene.frames import list_images
from scene.images import read_image

_SPRING_BASELINE = 0.065
_SPRING_SIZE = (960, 540)
_POINT_ODYSSEY_PARTS = ("train", "val", "test", "sample")
#: stored depth per meter in PointOdyssey; the largest number, 1000 m, stands for everything beyond
_POINT_ODYSSEY_UNITS, _POINT_ODYSSEY_LARGEST = 65.535, 999.99
#: x and y of the world of MVS-Synth are swapped
_SWAP = np.eye(4)[[1, 0, 2, 3]]


def folders_with(raw: Path, pattern: str, needed: str) -> list[str]:
    """Names, relative to `raw`, of the folders that match `pattern` and contain `needed`."""
    found = [path for path in raw.glob(pattern) if (path / needed).exists() and not path.name.startswith(".")]
    return [path.relative_to(raw).as_posix() for path in found]


def vkitti2_scenes(raw: Path) -> list[str]:
    cameras = [path for path in raw.glob("Scene*/*/frames/rgb/Camera_*") if path.is_dir()]
    return [f"{path.parents[2].relative_to(raw).as_posix()}/{path.name}" for path in cameras]


def vkitti2_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """SceneXX/variant with frames/rgb, frames/depth (centimeters, 65535 = sky), intrinsic.txt and extrinsic.txt, whose
    rows are frame, camera, then fx, fy, cx, cy or the matrix of camera from world."""
    sequence, camera = scene.rsplit("/", 1)
    folder = raw / sequence
    number = int(camera.removeprefix("Camera_"))
    focal = {int(row[0]): row[2:] for row in _rows_below_header(folder / "intrinsic.txt", 6) if row[1] == number}
    poses = {int(row[0]): row[2:] for row in _rows_below_header(folder / "extrinsic.txt", 18) if row[1] == number}
    for image in list_images(folder / "frames" / "rgb" / camera):
        name = image.stem.removeprefix("rgb_")
        index = int(name)
        if index not in focal or index not in poses:
            raise InputError(f"{folder} has no camera for frame {name} of {camera}; unpack its text files again.")
        z_depth = read_depth_image(folder / "frames" / "depth" / camera / f"depth_{name}.png", 100)
        yield RawFrame(
            name,
            read_image(image),
            measured(z_depth, sky_from=655.35),
            pinhole(*focal[index], centers=0.0),
            np.linalg.inv(poses[index].reshape(4, 4)),
        )


def _rows_below_header(path: Path, columns: int) -> np.ndarray:
    lines = read_text(path).splitlines()
    try:
        rows = np.array([[float(word) for word in line.split()] for line in lines[1:] if line.strip()])
    except ValueError:
        raise InputError(f"{path} has something other than rows of numbers below its header.") from None
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise InputError(f"{path} has no rows of {columns} numbers below its header; unpack it again.")
    return rows


def spring_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "*", "frame_left")


def spring_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """frame_left, disp1_left (HDF5, twice the size of the images, in pixels of the images), cam_data."""
    folder = raw / scene
    intrinsics = read_rows(folder / "cam_data" / "intrinsics.txt", 4)
    poses = read_rows(folder / "cam_data" / "extrinsics.txt", 16)
    images = list_images(folder / "frame_left")
    if not len(images) == len(intrinsics) == len(poses):
        raise InputError(f"{folder} has {len(images)} images, {len(intrinsics)} intrinsics and {len(poses)} poses.")
    for index, image in enumerate(images):
        path = folder / "disp1_left" / f"{image.stem.replace('frame', 'disp1')}.dsp5"
        disparity = read_hdf5(path, ["disparity"])["disparity"][::2, ::2].astype(np.float32)
        with np.errstate(divide="ignore"):
            z_depth = measured(np.float32(intrinsics[index][0] * _SPRING_BASELINE) / disparity)
        frame = RawFrame(
            f"{index:04d}",
            read_image(image),
            z_depth,
            pinhole(*intrinsics[index], centers=0.0),
            np.linalg.inv(poses[index].reshape(4, 4)),
        )
        yield resized(frame, *_SPRING_SIZE)


def mvs_synth_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "*", "poses")


def mvs_synth_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """images, depths (OpenEXR), poses (JSON: camera from world, intrinsics); the world is mirrored."""
    folder = raw / scene
    for image in list_images(folder / "images"):
        path = folder / "poses" / f"{image.stem}.json"
        camera = read_json(path)
        values = finite_array([camera.get(key) for key in ("f_x", "f_y", "c_x", "c_y")], (4,), "intrinsics", path)
        pose = finite_array(camera.get("extrinsic"), (4, 4), "extrinsic", path)
        yield RawFrame(
            image.stem,
            read_image(image),
            measured(read_exr(folder / "depths" / f"{image.stem}.exr")),
            pinhole(*values, centers=0.0),
            _SWAP @ np.linalg.inv(pose),
        )


def point_odyssey_scenes(raw: Path) -> list[str]:
    return [name for part in _POINT_ODYSSEY_PARTS for name in folders_with(raw, f"{part}/*", "anno.npz")]


def point_odyssey_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """rgbs, depths (16-bit, 65535 = 1000 m) and the arrays intrinsics and extrinsics of anno.npz."""
    folder = raw / scene
    cameras = read_entries(folder / "anno.npz", ["intrinsics", "extrinsics"])
    images, depths = list_images(folder / "rgbs"), list_images(folder / "depths")
    if not len(images) == len(depths) == len(cameras["intrinsics"]) == len(cameras["extrinsics"]):
        raise InputError(f"{folder} has different numbers of images, depth maps and cameras; unpack it again.")
    for index, (image, depth) in enumerate(zip(images, depths, strict=True)):
        matrix = cameras["intrinsics"][index].astype(np.float64)
        yield RawFrame(
            image.stem.rsplit("_", 1)[-1],
            read_image(image),
            measured(read_depth_image(depth, _POINT_ODYSSEY_UNITS), largest=_POINT_ODYSSEY_LARGEST),
            pinhole(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], centers=0.0),
            np.linalg.inv(cameras["extrinsics"][index].astype(np.float64)),
        )

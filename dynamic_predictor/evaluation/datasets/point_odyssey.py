"""PointOdyssey (Zheng et al., ICCV 2023): rendered clips with depth, cameras and tracks of surface points.

point_odyssey/<part>/<clip>/rgbs/rgb_00000.jpg, depths/depth_00000.png (65535 = 1000 m), and the cameras either in
anno.npz ("intrinsics" (N, 3, 3), "extrinsics" camera_from_world (N, 4, 4)) or, rearranged for fast loading, in
intrinsics/intrinsic_00000.npy and extrinsics/extrinsic_00000.npy.
"""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps, read_depth_image
from scene.errors import InputError
from scene.files.arrays import read_entries, read_npy

_PARTS = ("test", "val", "train", "sample")
_UNITS_PER_METER = 65.535


def list_clips(folder: Path) -> list[str]:
    """Names of all clips, "<part>/<clip>"."""
    parts = [part for part in _PARTS if (folder / part).is_dir()]
    return [f"{part}/{name}" for part in parts for name in folders_in(folder / part)]


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads one clip by its name "<part>/<clip>"; "test/" may be omitted."""
    clip = folder / (name if "/" in name else f"test/{name}")
    images = images_in(clip / "rgbs")
    numbers = [image.stem.removeprefix("rgb_") for image in images]
    intrinsics, camera_from_world = _cameras(clip, numbers)
    depths = [clip / "depths" / f"depth_{number}.png" for number in numbers]
    has_depth = all(depth.is_file() for depth in depths)
    return DatasetClip(
        name,
        images,
        world_from_cameras=None if camera_from_world is None else np.linalg.inv(camera_from_world),
        intrinsics=intrinsics,
        z_depths=depth_maps(depths, lambda path: read_depth_image(path, _UNITS_PER_METER)) if has_depth else None,
    )


def _cameras(clip: Path, numbers: list[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    if (clip / "extrinsics").is_dir():
        intrinsics = [read_npy(clip / "intrinsics" / f"intrinsic_{number}.npy", (3, 3)) for number in numbers]
        extrinsics = [read_npy(clip / "extrinsics" / f"extrinsic_{number}.npy", (4, 4)) for number in numbers]
        return np.array(intrinsics, np.float64), np.array(extrinsics, np.float64)
    if not (clip / "anno.npz").is_file():
        return None, None
    count = len(numbers)
    try:
        arrays = read_entries(clip / "anno.npz", ("intrinsics", "extrinsics"))
        intrinsics, extrinsics = (arrays[key].astype(np.float64) for key in ("intrinsics", "extrinsics"))
    except ValueError:
        raise InputError(f"{clip / 'anno.npz'} has no readable cameras; download the data set again.") from None
    if (
        intrinsics.shape[1:] != (3, 3)
        or extrinsics.shape[1:] != (4, 4)
        or min(len(intrinsics), len(extrinsics)) < count
    ):
        raise InputError(f"{clip / 'anno.npz'} does not have a camera for each of the {count} images.")
    return intrinsics[:count], extrinsics[:count]


POINT_ODYSSEY = Dataset(
    name="point_odyssey",
    title="PointOdyssey",
    folder="point_odyssey",
    fetch="python data/download_pointodyssey.py --to {data}/point_odyssey",
    list_clips=list_clips,
    open_clip=open_clip,
)

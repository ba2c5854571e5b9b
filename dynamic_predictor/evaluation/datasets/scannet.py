"""ScanNet v2 (Dai et al., CVPR 2017): static rooms scanned with depth (1000 = 1 m) and poses.

scannetv2/<clip>/color_90/frame_0000.jpg, depth_90/frame_0000.png, pose_90.txt (one world_from_camera of sixteen numbers
per line) with every third of the first 270 frames; or the same frames of color/0.jpg, depth/0.png, pose/0.txt.
"""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, beside_images, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps, read_depth_image
from scene.errors import InputError
from scene.files.text import read_rows, read_text

_PART = slice(0, 270, 3)


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads one scan, without poses where the tracking of the scanner failed at any of its frames."""
    clip = folder / name
    if (clip / "color_90").is_dir():
        images = images_in(clip / "color_90")
        depths = beside_images(images, clip / "depth_90", ".png")
        poses = read_rows(clip / "pose_90.txt", columns=16).reshape(-1, 4, 4)
    else:
        images = images_in(clip / "color")[_PART]
        depths = beside_images(images, clip / "depth", ".png")
        pose_files = beside_images(images, clip / "pose", ".txt")
        poses = None if pose_files is None else _poses(pose_files)
    return DatasetClip(
        name,
        images,
        world_from_cameras=poses,
        z_depths=None if depths is None else depth_maps(depths, lambda path: read_depth_image(path, 1000)),
    )


def _poses(files: list[Path]) -> np.ndarray | None:
    poses = []
    for file in files:
        if "inf" in read_text(file, limit=1 << 16):
            return None
        matrix = read_rows(file, columns=4)
        if matrix.shape != (4, 4):
            raise InputError(f"{file} is not a 4x4 matrix; download the data set again.")
        poses.append(matrix)
    return np.array(poses)


SCANNET = Dataset(
    name="scannet",
    title="ScanNet v2",
    folder="scannetv2",
    fetch="ask for access at http://www.scan-net.org, get scene0707_00 to scene0806_00 and unpack color, depth and "
    "poses of each into {data}/scannetv2/<scan>",
    list_clips=folders_in,
    open_clip=open_clip,
)

"""MPI Sintel, training part (Butler et al., ECCV 2012): rendered film with cameras and depth.

sintel/training/{final,clean}/<clip>/frame_0001.png, depth/<clip>/frame_0001.dpt, camdata_left/<clip>/frame_0001.cam,
and dynamic_label_perfect/<clip>/frame_0001.png, which is made from the flow (data/sintel_motion_labels.py).
"""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, beside_images, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import SINTEL_TAG, depth_maps, read_dpt
from scene.errors import InputError
from scene.files.text import check_file
from scene.images import read_image
from scene.maps import LoadedMaps
from scene.rotations import nearest_rotation

#: those with a camera that moves and truth that is right, which all figures of camera paths are of
PUBLISHED_CLIPS = (
    "alley_2", "ambush_4", "ambush_5", "ambush_6", "cave_2", "cave_4", "market_2", "market_5", "market_6", "shaman_3",
    "sleeping_1", "sleeping_2", "temple_2", "temple_3",
)  # fmt: skip
_FRAME_RATE = 24.0


def open_clip(folder: Path, name: str) -> DatasetClip:
    """The pass "final" of one clip. Depth, cameras and labels may be missing as a whole."""
    images = images_in(folder / "final" / name)
    cameras = beside_images(images, folder / "camdata_left" / name, ".cam")
    depths = beside_images(images, folder / "depth" / name, ".dpt")
    # the labels come from the flow, which the last frame does not have
    labels = [folder / "dynamic_label_perfect" / name / f"{image.stem}.png" for image in images]
    labelled = frozenset(index for index, label in enumerate(labels) if label.is_file())
    intrinsics = poses = None
    if cameras is not None:
        matrices, poses = zip(*(read_camera(path) for path in cameras), strict=True)
        intrinsics, poses = np.array(matrices), np.array(poses)
    return DatasetClip(
        name,
        images,
        timestamps=[index / _FRAME_RATE for index in range(len(images))],
        world_from_cameras=poses,
        intrinsics=intrinsics,
        z_depths=None if depths is None else depth_maps(depths, read_dpt),
        motion_masks=LoadedMaps(len(images), lambda index: _read_label(labels[index])) if labelled else None,
        annotated=labelled,
    )


def read_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (3, 3) and world_from_camera (4, 4) of a .cam file: tag, then 3x3 and 3x4 (camera_from_world) float64.

    Sintel's principal point belongs to pixel centres at whole numbers; half a pixel is added.
    """
    check_file(path, limit=1 << 16)
    content = path.read_bytes()
    if len(content) != 4 + 8 * 21 or np.frombuffer(content[:4], "<f4")[0] != SINTEL_TAG:
        raise InputError(f"{path} is no camera file of Sintel; fetch the data set again.")
    numbers = np.frombuffer(content[4:], "<f8")
    if not np.isfinite(numbers).all():
        raise InputError(f"{path} has numbers that are not finite; fetch the data set again.")
    intrinsics, camera_from_world = numbers[:9].reshape(3, 3).copy(), numbers[9:].reshape(3, 4)
    intrinsics[:2, 2] += 0.5
    rotation = nearest_rotation(camera_from_world[:, :3])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ camera_from_world[:, 3]
    return intrinsics, pose


def _read_label(path: Path) -> np.ndarray:
    return (read_image(path).max(axis=2) > 127).astype(np.float32)


SINTEL = Dataset(
    name="sintel",
    title="MPI Sintel",
    folder="sintel/training",
    fetch="python data/download_sintel.py --to {data}/sintel",
    published_clips=PUBLISHED_CLIPS,
    published_frames=50,
    list_clips=lambda folder: folders_in(folder / "final"),
    open_clip=open_clip,
    flow="raft",
)

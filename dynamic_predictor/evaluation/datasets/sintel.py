"""MPI Sintel, training part (Butler et al., ECCV 2012): a rendered film with cameras and depth.

sintel/training/{final,clean}/<clip>/frame_0001.png, depth/<clip>/frame_0001.dpt, camdata_left/<clip>/frame_0001.cam,
and dynamic_label_perfect/<clip>/frame_0001.png, computed from the flow by data/sintel_motion_labels.py.
"""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, beside_images, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps
from dynamic_predictor.evaluation.datasets.sintel_files import SINTEL_TAG, read_dpt
from scene.errors import InputError
from scene.files.text import check_file
from scene.images import read_image
from scene.maps import LoadedMaps
from scene.rotations import nearest_rotation

#: the clips with a moving camera and correct truth, on which camera paths are scored in all papers
PUBLISHED_CLIPS = (
    "alley_2", "ambush_4", "ambush_5", "ambush_6", "cave_2", "cave_4", "market_2", "market_5", "market_6", "shaman_3",
    "sleeping_1", "sleeping_2", "temple_2", "temple_3",
)  # fmt: skip
_FRAME_RATE = 24.0


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads the pass "final" of one clip. The folders of depth, cameras and labels may be missing."""
    images = images_in(folder / "final" / name)
    cameras = beside_images(images, folder / "camdata_left" / name, ".cam")
    depths = beside_images(images, folder / "depth" / name, ".dpt")
    # the last frame has no label, because labels are computed from the flow to the next frame
    labels = [folder / "dynamic_label_perfect" / name / f"{image.stem}.png" for image in images]
    labeled = frozenset(index for index, label in enumerate(labels) if label.is_file())
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
        motion_masks=LoadedMaps(len(images), lambda index: _read_label(labels[index])) if labeled else None,
        annotated=labeled,
    )


def read_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads intrinsics (3, 3) and world_from_camera (4, 4) from a .cam file: tag, 3x3 intrinsics and 3x4
    camera_from_world, float64. In the file, pixel centers are at integers; the result has them at +0.5."""
    check_file(path, limit=1 << 16)
    content = path.read_bytes()
    if len(content) != 4 + 8 * 21 or np.frombuffer(content[:4], "<f4")[0] != SINTEL_TAG:
        raise InputError(f"{path} is not a camera file of Sintel; download the data set again.")
    numbers = np.frombuffer(content[4:], "<f8")
    if not np.isfinite(numbers).all():
        raise InputError(f"{path} has numbers that are not finite; download the data set again.")
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
    all_clips_alone=True,
    list_clips=lambda folder: folders_in(folder / "final"),
    open_clip=open_clip,
    flow="raft",
)

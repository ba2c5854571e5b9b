"""TUM RGB-D (Sturm et al., IROS 2012) and Bonn RGB-D Dynamic (Palazzolo et al., IROS 2019), both in TUM's layout.

<clip>/rgb.txt and groundtruth.txt with times, rgb/<seconds>.png, depth/<seconds>.png (5000 = 1 m). The frames of
published figures are read from folders prepared for them (rgb_90, groundtruth_90.txt; rgb_110, depth_110,
groundtruth_110.txt) or, without these folders, selected from the whole clip.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps, read_depth_image
from dynamic_predictor.evaluation.datasets.poses import associate, read_time_list, time_in_name, tum_poses_of_images
from scene.errors import InputError
from scene.formats.tum import read_tum
from scene.maps import FrameMaps

_UNITS_PER_METER = 5000.0
#: largest difference, in seconds, between the times of an image and of its pose
_TOLERANCE = 0.02

#: clips of freiburg 3 with moving people
TUM_DYNAMIC_CLIPS = tuple(
    f"rgbd_dataset_freiburg3_{action}_{motion}"
    for action in ("sitting", "walking")
    for motion in ("halfsphere", "rpy", "static", "xyz")
)
BONN_PUBLISHED_CLIPS = ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
#: the frames that DepthCrafter (2024) and later papers use
_BONN_PART = slice(30, 140)


def open_tum(folder: Path, name: str) -> DatasetClip:
    """Reads one clip: every third image with a pose, at most 90."""
    clip = folder / name
    if (clip / "rgb_90").is_dir():
        images = images_in(clip / "rgb_90")
        times, poses = tum_poses_of_images(clip / "groundtruth_90.txt", images)
        return DatasetClip(name, images, times, poses, z_depths=_depths(clip / "depth", images))
    times, names = read_time_list(clip / "rgb.txt")
    pose_times, poses = read_tum(clip / "groundtruth.txt")
    pairs = associate(times, pose_times, _TOLERANCE)[::3][:90]
    if len(pairs) < 2:
        raise InputError(f"{clip} has fewer than two images with a pose; download it again.")
    images = [clip / names[i] for i, _ in pairs]
    return DatasetClip(
        name,
        images,
        timestamps=[float(times[i]) for i, _ in pairs],
        world_from_cameras=poses[[j for _, j in pairs]],
        z_depths=_depths(clip / "depth", images),
    )


def open_bonn(folder: Path, name: str) -> DatasetClip:
    """Reads one clip: images 30 to 139."""
    clip = folder / f"rgbd_bonn_{name}"
    if (clip / "rgb_110").is_dir():
        images = images_in(clip / "rgb_110")
        times, poses = tum_poses_of_images(clip / "groundtruth_110.txt", images)
        return DatasetClip(name, images, times, poses, z_depths=_depths(clip / "depth_110", images))
    images = images_in(clip / "rgb")[_BONN_PART]
    if len(images) < 2:
        raise InputError(f"{clip / 'rgb'} ends before image {_BONN_PART.start + 2}; download it again.")
    times = np.array([time_in_name(image) for image in images])
    pose_times, poses = read_tum(clip / "groundtruth.txt")
    pairs = dict(associate(times, pose_times, _TOLERANCE))
    chosen = [poses[pairs[i]] for i in range(len(images)) if i in pairs]
    return DatasetClip(
        name,
        images,
        timestamps=times.tolist(),
        world_from_cameras=np.array(chosen) if len(chosen) == len(images) else None,
        z_depths=_depths(clip / "depth", images),
    )


def _depths(folder: Path, images: Sequence[Path]) -> FrameMaps | None:
    """The depth map of each image by time or, where files are not named by time, by order; None if one is missing."""
    if not folder.is_dir():
        return None
    files = images_in(folder)
    try:
        times = np.array([time_in_name(file) for file in files])
        image_times = np.array([time_in_name(image) for image in images])
    except InputError:
        return _read(files) if len(files) == len(images) else None
    nearest = np.abs(times[None, :] - image_times[:, None]).argmin(axis=1)
    if np.abs(times[nearest] - image_times).max() > 2 * _TOLERANCE:
        return None
    return _read([files[index] for index in nearest])


def _read(files: Sequence[Path]) -> FrameMaps:
    return depth_maps(files, lambda path: read_depth_image(path, _UNITS_PER_METER))


def _bonn_clips(folder: Path) -> list[str]:
    return [name.removeprefix("rgbd_bonn_") for name in folders_in(folder) if name.startswith("rgbd_bonn_")]


TUM = Dataset(
    name="tum",
    title="TUM RGB-D, dynamic objects",
    folder="tum",
    fetch="mkdir -p {data}/tum; for f in {sitting,walking}_{halfsphere,rpy,static,xyz}; do curl -L "
    "https://cvg.cit.tum.de/rgbd/dataset/freiburg3/rgbd_dataset_freiburg3_$f.tgz | tar xz -C {data}/tum; done",
    published_clips=TUM_DYNAMIC_CLIPS,
    list_clips=folders_in,
    open_clip=open_tum,
)

BONN = Dataset(
    name="bonn",
    title="Bonn RGB-D Dynamic",
    folder="bonn/rgbd_bonn_dataset",
    fetch="curl -L --create-dirs -o {data}/bonn.zip "
    "https://www.ipb.uni-bonn.de/html/projects/rgbd_dynamic2019/rgbd_bonn_dataset.zip "
    "&& unzip -q {data}/bonn.zip -d {data}/bonn",
    published_clips=BONN_PUBLISHED_CLIPS,
    list_clips=_bonn_clips,
    open_clip=open_bonn,
)

"""Rooms with true depth and cameras, of which a few images are reconstructed: 7-Scenes (Shotton et al., CVPR 2013) and
Neural RGB-D (Azinovic et al., CVPR 2022), in the layouts and with the images of Spann3R's and CUT3R's evaluations.

7scenes/<room>/{TestSplit.txt, seq-01/frame-000000.{color.png,depth.proj.png,pose.txt}}: every 200th image of each test
    sequence; depth.proj.png is the depth as the color camera sees it, in millimeters
neural_rgbd/<room>/{images/img0.png, depth/depth0.png, poses.txt}: every 500th image, or two per room; depth in
    millimeters; poses as OpenGL has them
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import folders_in
from dynamic_predictor.evaluation.datasets.depth_files import read_depth_image
from scene.errors import InputError
from scene.files.text import read_rows, read_text

_UNITS_PER_METER = 1000.0
#: smaller and larger depth, in meters, counts as unknown, and so does the value that 7-Scenes uses for it
_NEAREST, _FARTHEST = 1e-3, 10.0
_SEVEN_SCENES_UNKNOWN = 65.535
_SEVEN_SCENES_STEP, _NEURAL_RGBD_STEP = 200, 500
#: of 640x480 images, pixel centers at +0.5; of 7-Scenes those that SimpleRecon (Sayed et al., ECCV 2022) uses
_SEVEN_SCENES_INTRINSICS = np.array([[525.0, 0, 320.5], [0, 525.0, 240.5], [0, 0, 1]])
_NEURAL_RGBD_INTRINSICS = np.array([[554.2562584220408, 0, 320.5], [0, 554.2562584220408, 240.5], [0, 0, 1]])


@dataclass(frozen=True)
class PointMapView:
    """One image with its true depth and camera."""

    image: Path
    depth: Path
    world_from_camera: np.ndarray
    #: (3, 3) in pixels of the depth map
    intrinsics: np.ndarray

    def read_depth(self) -> np.ndarray:
        """The z depth in meters, float32 (H, W), 0 = unknown."""
        if not self.depth.is_file():
            raise InputError(f"{self.depth} is missing; the data set is incomplete, see docs/evaluation.md.")
        depth = read_depth_image(self.depth, _UNITS_PER_METER)
        is_known = (depth >= _NEAREST) & (depth <= _FARTHEST) & (depth != np.float32(_SEVEN_SCENES_UNKNOWN))
        return np.where(is_known, depth, np.float32(0))


@dataclass(frozen=True)
class PointMapDataset:
    """A data set: its place in the data folder, its scenes, and the reader of one of them."""

    name: str
    title: str
    folder: str
    list_scenes: Callable[[Path], list[str]]
    #: (folder of the data set, name) -> the views, in order
    open_scene: Callable[[Path, str], list[PointMapView]]
    #: how to get it
    source: str

    def scene(self, folder: Path, name: str) -> list[PointMapView]:
        """The views of one scene. `InputError` when it is incomplete, or missing; the latter names existing scenes."""
        if not (folder / name).is_dir():
            known = ", ".join(self.list_scenes(folder)[:20])
            raise InputError(f"{self.title} has no scene {name} in {folder}; there are: {known}.")
        views = self.open_scene(folder, name)
        if len(views) < 2:
            raise InputError(f"{folder / name} has {len(views)} images with a pose; at least two are needed.")
        return views


def seven_scenes(folder: Path) -> list[str]:
    """Names `room/seq-01` of the test sequences, which TestSplit.txt of each room lists as `sequence1`."""
    names = []
    for room in folders_in(folder):
        split = folder / room / "TestSplit.txt"
        if split.is_file():
            numbers = ["".join(filter(str.isdigit, line)) for line in read_text(split, limit=1 << 16).splitlines()]
            names += [f"{room}/seq-{number.zfill(2)}" for number in numbers if number]
    return names


def open_seven_scenes(folder: Path, name: str) -> list[PointMapView]:
    """Every 200th image of a sequence."""
    sequence = folder / name
    count = len(list(sequence.glob("frame-*.color.png")))
    views = []
    for index in range(0, count, _SEVEN_SCENES_STEP):
        pose = read_rows(sequence / f"frame-{index:06d}.pose.txt", columns=4)
        if pose.shape != (4, 4):
            raise InputError(f"{sequence / f'frame-{index:06d}.pose.txt'} is not a 4x4 matrix; download it again.")
        image, depth = (sequence / f"frame-{index:06d}.{kind}.png" for kind in ("color", "depth.proj"))
        views.append(PointMapView(image, depth, pose, _SEVEN_SCENES_INTRINSICS))
    return views


def open_neural_rgbd(folder: Path, name: str) -> list[PointMapView]:
    """Every 500th image of a room, or two of a short one; images without a pose are left out."""
    room = folder / name
    count = len(list((room / "images").glob("img*.png")))
    poses = _neural_rgbd_poses(room / "poses.txt")
    if len(poses) < count:
        raise InputError(f"{room / 'poses.txt'} has {len(poses)} poses for {count} images; download it again.")
    views = []
    for index in range(0, count, max(1, min(_NEURAL_RGBD_STEP, count // 2))):
        pose = poses[index]
        if pose is not None:
            image, depth = room / "images" / f"img{index}.png", room / "depth" / f"depth{index}.png"
            views.append(PointMapView(image, depth, pose, _NEURAL_RGBD_INTRINSICS))
    return views


def _neural_rgbd_poses(path: Path) -> list[np.ndarray | None]:
    """Poses world_from_camera with OpenCV's axes, four lines each in the file; None where they are not numbers."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    try:
        rows = np.array(lines, np.float64)
    except ValueError:
        rows = np.zeros((0, 0))
    if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) % 4:
        raise InputError(f"{path} is not a list of 4x4 matrices, four lines each; download it again.")
    poses = rows.reshape(-1, 4, 4)
    poses[:, :3, 1:3] *= -1  # OpenGL's y points up and its z backward
    return [pose if np.isfinite(pose).all() else None for pose in poses]


POINT_MAP_DATASETS = {
    entry.name: entry
    for entry in (
        PointMapDataset(
            "7scenes", "7-Scenes", "7scenes", seven_scenes, open_seven_scenes,
            "download the rooms from https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes and "
            "project the depth into the color camera (frame-*.depth.proj.png), as SimpleRecon's preparation does.",
        ),
        PointMapDataset(
            "neural_rgbd", "Neural RGB-D", "neural_rgbd", folders_in, open_neural_rgbd,
            "download it from https://github.com/dazinovic/neural-rgbd-surface-reconstruction.",
        ),
    )
}  # fmt: skip

"""Writes two or three frames in the layout of each data set of clips, with the truth that the tests compute with.

The camera of frame k is at (0.1 k, 0, 0) without rotation. True depth is 2 + k meters in the left half, twice that in
the right half, and unknown in the first row.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from scene.formats.tum import write_tum
from scene.images import write_png

HEIGHT, WIDTH, COUNT = 32, 48, 3


def true_depth(frame: int) -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), 2.0 + frame, np.float32)
    depth[:, WIDTH // 2 :] *= 2
    depth[0] = 0
    return depth


def true_pose(frame: int) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = 0.1 * frame
    return pose


def write_frame(path: Path, frame: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(frame).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if path.suffix == ".jpg":
        cv2.imwrite(str(path), noise)
    else:
        write_png(path, noise)


def write_depth(path: Path, depth: np.ndarray, units: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.round(depth * units).astype(np.uint16))


def make_sintel(root: Path, clips: tuple[str, ...] = ("alley_2", "bandage_1")) -> None:
    """Its depth has a row beyond the limit of 70 meters in place of an unknown one."""
    training = root / "sintel" / "training"
    for clip in clips:
        for frame in range(COUNT):
            name = f"frame_{frame + 1:04d}"
            write_frame(training / "final" / clip / f"{name}.png", frame)
            depth = true_depth(frame)
            depth[0] = 90
            path = training / "depth" / clip / f"{name}.dpt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(struct.pack("<fii", 202021.25, WIDTH, HEIGHT) + depth.tobytes())
            path = training / "camdata_left" / clip / f"{name}.cam"
            path.parent.mkdir(parents=True, exist_ok=True)
            intrinsics = np.array([[50.0, 0, WIDTH / 2 - 0.5], [0, 50, HEIGHT / 2 - 0.5], [0, 0, 1]])
            camera = np.linalg.inv(true_pose(frame))[:3]
            path.write_bytes(struct.pack("<f", 202021.25) + intrinsics.tobytes() + camera.tobytes())


def make_bonn(root: Path) -> None:
    clip = root / "bonn" / "rgbd_bonn_dataset" / "rgbd_bonn_balloon2"
    times = [1.0 + frame / 30 for frame in range(COUNT)]
    for frame, seconds in enumerate(times):
        write_frame(clip / "rgb_110" / f"{seconds:.5f}.png", frame)
        write_depth(clip / "depth_110" / f"{seconds:.5f}.png", true_depth(frame), 5000)
    write_tum(clip / "groundtruth_110.txt", times, np.array([true_pose(frame) for frame in range(COUNT)]))


def make_kitti(root: Path) -> None:
    base = root / "kitti" / "depth_selection" / "val_selection_cropped"
    for frame in range(COUNT):
        name = f"2011_09_26_drive_0002_sync_02/{frame:010d}.png"
        write_frame(base / "image_gathered" / name, frame)
        write_depth(base / "groundtruth_depth_gathered" / name, true_depth(frame), 256)


def make_nyu(root: Path) -> None:
    folder = root / "nyu-v2" / "val"
    for frame in range(COUNT):
        write_frame(folder / "nyu_images" / f"{frame:05d}.png", frame)
        (folder / "nyu_depths").mkdir(exist_ok=True)
        np.save(folder / "nyu_depths" / f"{frame:05d}.npy", true_depth(frame))


def make_tum(root: Path) -> None:
    clip = root / "tum" / "rgbd_dataset_freiburg3_sitting_xyz"
    times = [1.0 + frame / 30 for frame in range(COUNT)]
    for frame, seconds in enumerate(times):
        write_frame(clip / "rgb_90" / f"{seconds:.6f}.png", frame)
    write_tum(clip / "groundtruth_90.txt", times, np.array([true_pose(frame) for frame in range(COUNT)]))


def make_scannet(root: Path) -> None:
    clip = root / "scannetv2" / "scene0707_00"
    for frame in range(COUNT):
        write_frame(clip / "color_90" / f"frame_{frame:04d}.jpg", frame)
    np.savetxt(clip / "pose_90.txt", [true_pose(frame).ravel() for frame in range(COUNT)])


#: data set -> what makes it, the clips of published figures, all clips
CLIPS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], tuple[str, ...]]] = {
    "sintel": (make_sintel, ("alley_2",), ("alley_2", "bandage_1")),
    "bonn": (make_bonn, ("balloon2",), ("balloon2",)),
    "kitti": (make_kitti, ("2011_09_26_drive_0002_sync_02",), ("2011_09_26_drive_0002_sync_02",)),
    "nyu": (make_nyu, ("val",), ("val",)),
    "tum": (make_tum, ("rgbd_dataset_freiburg3_sitting_xyz",), ("rgbd_dataset_freiburg3_sitting_xyz",)),
    "scannet": (make_scannet, ("scene0707_00",), ("scene0707_00",)),
}

"""Writes small folders in the layouts of 7-Scenes, Neural RGB-D and CO3Dv2, of the simulated room with known truth."""

import gzip
import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from scene.images import write_png
from tests.simulated_stream import SimulatedWalk


class _RoomWalk(SimulatedWalk):
    """Five images with the camera of a data set; no ray is parallel to a wall."""

    def __init__(self, focal: float) -> None:
        super().__init__(5, lap=24, width=640, height=480)
        self.intrinsics = np.array([[focal, 0, 320.5], [0, focal, 240.5], [0, 0, 1]])

    def world_from_camera(self, index: float) -> np.ndarray:
        return super().world_from_camera(index + 0.4)  # type: ignore[arg-type]

    @cache  # noqa: B019 - there are two walks
    def image(self, index: int) -> np.ndarray:
        return super().image(index)


#: the walk whose images are written of a room, by data set
WALKS = {"7scenes": _RoomWalk(525.0), "neural_rgbd": _RoomWalk(554.2562584220408)}
OBJECT_WALK = SimulatedWalk(60, lap=60, width=96, height=64)


def depth_png(path: Path, z_depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.round(1000 * z_depth).astype(np.uint16))[1].tobytes())


def make_seven_scenes(root: Path, count: int = 3) -> None:
    """One test sequence of `count` * 200 - 199 images, of which only every 200th is a real one."""
    walk, room = WALKS["7scenes"], root / "7scenes" / "chess"
    (room / "seq-03").mkdir(parents=True)
    (room / "TestSplit.txt").write_text("sequence3\n")
    (root / "7scenes" / "meshes").mkdir()
    for index in range(200 * count - 199):
        color = room / "seq-03" / f"frame-{index:06d}.color.png"
        if index % 200:
            color.touch()
            continue
        shown = index // 200
        write_png(color, walk.image(shown))
        np.savetxt(room / "seq-03" / f"frame-{index:06d}.pose.txt", walk.world_from_camera(shown))
        depth = walk.z_depth(shown).copy()
        depth[:40] = 65.535
        depth_png(room / "seq-03" / f"frame-{index:06d}.depth.proj.png", depth)


def make_neural_rgbd(root: Path, count: int = 5) -> None:
    """A short room: the protocol takes every second image of the first four, and image 4."""
    walk, room = WALKS["neural_rgbd"], root / "neural_rgbd" / "staircase"
    lines = []
    for index in range(count):
        (room / "images").mkdir(parents=True, exist_ok=True)
        write_png(room / "images" / f"img{index}.png", walk.image(index))
        depth_png(room / "depth" / f"depth{index}.png", walk.z_depth(index))
        pose = walk.world_from_camera(index) @ np.diag([1.0, -1, -1, 1])
        lines += [" ".join(map(str, row)) for row in pose]
    (room / "poses.txt").write_text("\n".join(lines) + "\n")


def make_co3d(root: Path, *, raw: bool = False) -> None:
    """Two categories; a sequence of 60 images, one of 50, one that is too short, and one with a camera far away."""
    small = OBJECT_WALK
    sequences = {"apple": {"1_2_3": 60, "4_5_6": 20}, "bench": {"7_8_9": 50, "far": 50}}
    for category, members in sequences.items():
        annotations, frames = {}, []
        for name, count in members.items():
            entries = []
            for index in range(count):
                relative = f"{category}/{name}/images/frame{index + 1:06d}.png"
                if name not in ("4_5_6", "far"):
                    path = root / "co3d_v2" / relative
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_png(path, small.image(index))
                camera = np.diag([-1.0, -1, 1, 1]) @ np.linalg.inv(small.world_from_camera(index))
                translation = camera[:3, 3] + (2e5 if name == "far" and index == 7 else 0)
                view = {"R": camera[:3, :3].T.tolist(), "T": translation.tolist()}
                entries.append({"filepath": relative, **view})
                frames.append({"sequence_name": name, "frame_number": index, "viewpoint": view})
            annotations[name] = entries
        if not raw:
            write_jgz(root / "co3d_v2_annotations" / f"{category}_test.jgz", annotations)
            continue
        folder = root / "co3d_v2" / category
        frames.append({"sequence_name": "blurred", "frame_number": 0, "viewpoint": frames[0]["viewpoint"]})
        qualities = dict.fromkeys(members, 0.9) | {"blurred": 0.1}
        write_jgz(folder / "frame_annotations.jgz", frames)
        content = [{"sequence_name": name, "viewpoint_quality_score": score} for name, score in qualities.items()]
        write_jgz(folder / "sequence_annotations.jgz", content)
        test = [[name, index, entry["filepath"]] for name in members for index, entry in enumerate(annotations[name])]
        (folder / "set_lists").mkdir()
        lists = {"train": [], "test": [*test, ["blurred", 0, "x"]]}
        (folder / "set_lists" / "set_lists_fewview_dev.json").write_text(json.dumps(lists))


def write_jgz(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))

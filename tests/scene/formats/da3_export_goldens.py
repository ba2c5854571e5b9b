"""Goldens of the export functions of Depth Anything 3's official code (tests/data/da3, ../shared)."""

from collections.abc import Mapping

import numpy as np

from scene.camera import Camera
from scene.frames import MemoryFrames
from scene.scene import Scene
from tests.paths import DATA


def load_goldens() -> Mapping[str, np.ndarray]:
    """All arrays by name; prefixes are "glb/", "vis/", "traj/" and "gsply/"."""
    return np.load(DATA / "da3" / "maths_export_small.npz")


def camera_from_matrices(extrinsics: np.ndarray, intrinsics: np.ndarray, width: int, height: int) -> Camera:
    """The camera of camera_from_world (3 or 4, 4) and intrinsics (3, 3) in pixels."""
    camera_from_world = np.eye(4)
    camera_from_world[:3] = extrinsics[:3]
    return Camera.from_intrinsics(width, height, intrinsics, np.linalg.inv(camera_from_world))


def golden_cameras(golden: Mapping[str, np.ndarray]) -> list[Camera]:
    """The three cameras of the golden glb."""
    return [camera_from_matrices(e, k, 28, 20) for e, k in zip(golden["glb/extr"], golden["glb/intr"], strict=True)]


def golden_scene(golden: Mapping[str, np.ndarray]) -> Scene:
    """The scene of the golden glb, with confidences in [0, 1]."""
    frames = MemoryFrames(golden["glb/images"])
    confidences = 1 - 1 / golden["glb/conf"]
    return Scene(frames, golden_cameras(golden), None, golden["glb/depth"], confidences)

"""Clips, cameras and scenes that are known exactly."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.maps import StoredMaps
from scene.scene import PointCloud, Scene
from tests.conftest import textured
from tests.paths import DATA


def random_cameras(count: int, width: int, height: int, seed: int = 0, shared: bool = True) -> list[Camera]:
    """Cameras that look roughly along +z from near the origin."""
    generator = np.random.default_rng(seed)
    cameras = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(generator.normal(0, 0.1, 3)).as_matrix()
        pose[:3, 3] = generator.normal(0, 0.3, 3)
        focal = 0.9 * width + (0 if shared else index)
        cameras.append(Camera(width, height, focal, focal * 1.01, width / 2 + 0.3, height / 2 - 0.2, pose))
    return cameras


@pytest.fixture
def small_scene(tmp_path: Path) -> Scene:
    """Five frames of 41x30 (odd on purpose) with everything that a scene can have."""
    width, height, count = 41, 30, 5
    generator = np.random.default_rng(3)
    folder = tmp_path / "source of small_scene"
    folder.mkdir()
    paths = [folder / f"{index:05d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        write_png(path, textured(width, height, index))
    masks, depths, confidences = (StoredMaps(count, height, width, dtype=np.float32) for _ in range(3))
    for index in range(count):
        masks[index] = generator.uniform(0, 1, (height, width))
        depths[index] = generator.uniform(2, 4, (height, width)) * (generator.uniform(size=(height, width)) > 0.1)
        confidences[index] = generator.uniform(0, 1, (height, width))
    positions = (generator.uniform(-0.5, 0.5, (200, 3)) + [0, 0, 3]).astype(np.float32)
    colors = generator.integers(0, 256, (200, 3)).astype(np.uint8)
    return Scene(
        frames=ImageFolderFrames(paths, [0.1 * index for index in range(count)]),
        cameras=random_cameras(count, width, height),
        motion_masks=masks,
        z_depths=depths,
        confidences=confidences,
        points=PointCloud(positions, colors),
        predictor="truth",
        provenance={"focal": np.float64(37.5), "rounds": np.int64(3), "notes": ["exact"], "median": float("nan")},
    )


@pytest.fixture
def das3r(tmp_path: Path) -> Path:
    """Three frames that DAS3R's own code wrote, in both layouts: output/ and output_rearranged/."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path

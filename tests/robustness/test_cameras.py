"""Damaged files of cameras: cameras or one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from scene.camera import Camera
from scene.camera_files import read_cameras, save_cameras
from scene.errors import InputError
from scene.formats.colmap import write_colmap
from scene.formats.colmap_reader import read_colmap
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.tum import read_tum, write_tum
from scene.scene import PointCloud
from tests.robustness.mutations import QUICK, damaged, result_or_sentence

NAMES = ["a.png", "b b.png", "c.png"]


def cameras() -> list[Camera]:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = (0.0, 0.5, 1.25)
    return [Camera(64, 48, 60.0, 61.0, 32.0, 24.0, pose) for pose in poses]


def check_reader(path: Path, read) -> None:
    content = path.read_bytes()

    @QUICK
    @given(damaged(content))
    def check(damaged_content: bytes) -> None:
        path.write_bytes(damaged_content)
        result_or_sentence(read)

    assert read() is not None
    check()


def test_cameras_of_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    save_cameras(path, NAMES, cameras())
    check_reader(path, lambda: read_cameras(path, NAMES, 64, 48))


@pytest.mark.parametrize("value", [0, -1, 1e-300, 1e300, "1" + "0" * 400, None, "60", [60], True, float("nan")])
@pytest.mark.parametrize("key", ["fx", "cx"])
def test_absurd_intrinsics(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    save_cameras(path, NAMES, cameras())
    content = json.loads(path.read_text())
    content["frames"][1][key] = int(value) if isinstance(value, str) and len(value) > 99 else value
    path.write_text(json.dumps(content))
    if key == "cx" and value in (0, -1, 1e-300, True):
        assert read_cameras(path, NAMES, 64, 48)
        return
    if value is True or value == "60":
        return  # taken as a number
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_cameras(path, NAMES, 64, 48)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap(name: str, tmp_path: Path) -> None:
    points = PointCloud(np.ones((4, 3), np.float32), np.full((4, 3), 9, np.uint8))
    write_colmap(tmp_path, NAMES, cameras(), points, None)
    check_reader(tmp_path / name, lambda: read_colmap(tmp_path))


COLMAP_TEXT = {
    "cameras.txt": "# cameras\n1 PINHOLE 64 48 60 61 32 24\n",
    "images.txt": "1 1 0 0 0 0 0 1 1 a.png\n\n2 1 0 0 0 0.5 0 1 1 b.png\n1 2 -1\n",
    "points3D.txt": "1 0 0 1 9 9 9 0.5 1 0\n",
}


@pytest.mark.parametrize("name", COLMAP_TEXT)
def test_colmap_text(name: str, tmp_path: Path) -> None:
    for file, text in COLMAP_TEXT.items():
        (tmp_path / file).write_text(text)
    check_reader(tmp_path / name, lambda: read_colmap(tmp_path))


def test_nerfstudio(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    frames = [{"file_path": name, "transform_matrix": camera.world_from_camera.tolist()} for name, camera in
              zip(NAMES, cameras(), strict=True)]  # fmt: skip
    shared = {"w": 64, "h": 48, "fl_x": 60.0, "fl_y": 61.0, "cx": 32.0, "cy": 24.0}
    path.write_text(json.dumps({"camera_model": "OPENCV", **shared, "frames": frames}))
    check_reader(path, lambda: read_nerfstudio(path))


def test_trajectories(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.txt"
    write_tum(path, [0.0, 0.1, 0.2], np.array([camera.world_from_camera for camera in cameras()]))
    check_reader(path, lambda: read_tum(path))

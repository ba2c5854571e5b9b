"""transforms.json against files written by hand and with known answers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plyfile import PlyData

from scene.camera import Camera
from scene.errors import InputError
from scene.formats.nerfstudio import NerfstudioModel, read_nerfstudio, write_nerfstudio
from scene.formats.registry import export
from scene.images import write_png
from scene.scene import Scene
from tests.scene.formats.random_poses import random_poses


def test_axes(tmp_path: Path) -> None:
    """A camera at (1, 2, 3) that looks along world +x with world +z up, in OpenGL: backward is -x, up is +z."""
    opengl = [[0, 0, -1, 1], [-1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 0, 1]]
    content = {"fl_x": 50, "fl_y": 51, "cx": 20, "cy": 10, "w": 40, "h": 20}
    content["frames"] = [{"file_path": "images/a.png", "transform_matrix": opengl}]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    model = read_nerfstudio(tmp_path)
    pixels, z = model.cameras[0].project(np.array([[6.0, 2.0, 3.0], [6.0, 2.0, 4.0], [6.0, 1.0, 3.0]]))
    assert np.allclose(z, 5)
    assert np.allclose(pixels, [[20, 10], [20, 10 - 51 / 5], [20 + 50 / 5, 10]])  # up is up, right is -y


@pytest.mark.parametrize("shared", [True, False])
def test_round_trip(tmp_path: Path, shared: bool) -> None:
    cameras = [
        Camera(40 + (0 if shared else i), 30, 33.3, 34.4, 19.9, 15.1, pose) for i, pose in enumerate(random_poses(3, 1))
    ]
    names = [f"images/{i}.png" for i in range(3)]
    write_nerfstudio(tmp_path / "transforms.json", NerfstudioModel(cameras, names))
    content = json.loads((tmp_path / "transforms.json").read_text())
    assert ("fl_x" in content) == shared and ("fl_x" in content["frames"][0]) != shared
    model = read_nerfstudio(tmp_path / "transforms.json")
    assert model.file_paths == names
    for before, after in zip(cameras, model.cameras, strict=True):
        assert np.array_equal(before.world_from_camera, after.world_from_camera)
        assert np.array_equal(before.intrinsics, after.intrinsics)
        assert (before.width, before.height) == (after.width, after.height)


def test_field_of_view_and_size_from_the_image(tmp_path: Path) -> None:
    """As in the synthetic scenes of NeRF: no size, no suffix, one angle."""
    (tmp_path / "train").mkdir()
    write_png(tmp_path / "train" / "r_0.png", np.zeros((20, 40, 3), np.uint8))
    frame = {"file_path": "./train/r_0", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": math.pi / 2, "frames": [frame]}))
    camera = read_nerfstudio(tmp_path).cameras[0]
    assert (camera.width, camera.height, camera.cx, camera.cy) == (40, 20, 20.0, 10.0)
    assert math.isclose(camera.fx, 20.0) and math.isclose(camera.fy, 20.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"camera_angle_y": 1.2}, (10 / math.tan(0.6), 10 / math.tan(0.6))),
        ({"camera_angle_x": 1.5, "camera_angle_y": 1.2}, (20 / math.tan(0.75), 10 / math.tan(0.6))),
        ({"fl_y": 33.0}, (33.0, 33.0)),
        ({"fl_x": 30.0, "camera_angle_y": 1.2}, (30.0, 10 / math.tan(0.6))),
    ],
)
def test_angles_of_view_of_both_sides(tmp_path: Path, given: dict, expected: tuple[float, float]) -> None:
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({"w": 40, "h": 20, **given, "frames": [frame]}))
    camera = read_nerfstudio(tmp_path).cameras[0]
    assert (camera.fx, camera.fy) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"frames": []}, "no list"),
        ({"frames": "many"}, "no list"),
        ({"k1": 0.1}, "lens distortion"),
        ({"k1": "0.1"}, "k1 is not a finite number"),
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"),
        ({"camera_model": "OPENCV_FISHEYE"}, "fisheye lens"),
        ({"is_fisheye": True}, "fisheye lens"),
        ({"fl_x": -1}, "not positive"),
        ({"fl_x": None, "fl_y": None}, "intrinsics"),
        ({"w": 0}, "0x20 pixels"),
        ({"w": "wide"}, "the size of"),
        ({"frames": [{"file_path": "a.png"}]}, "transform_matrix of a.png"),
        ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, "no file_path"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": (2 * np.eye(4)).tolist()}]}, "not a rigid"),
    ],
)
def test_defects(tmp_path: Path, change: dict, expected: str) -> None:
    content = {"fl_x": 50, "fl_y": 51, "cx": 20, "cy": 10, "w": 40, "h": 20}
    frames = [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({**content, "frames": frames, **change}))
    with pytest.raises(InputError, match=expected) as caught:
        read_nerfstudio(path)
    assert str(path) in str(caught.value)


def test_masks_and_points_are_named(small_scene: Scene, tmp_path: Path) -> None:
    export(small_scene, tmp_path / "out", "nerfstudio")
    content = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert content["ply_file_path"] == "points.ply" and small_scene.motion_masks is not None
    points = PlyData.read(str(tmp_path / "out" / "points.ply"))["vertex"]
    assert len(points["x"]) > 0
    for index, frame in enumerate(content["frames"]):
        mask = np.asarray(Image.open(tmp_path / "out" / frame["mask_path"]))
        # black where something moves, as nerfstudio and COLMAP leave out
        assert np.array_equal(mask == 0, small_scene.motion_masks[index] > 0.5) and set(np.unique(mask)) <= {0, 255}
    model = read_nerfstudio(tmp_path / "out")
    assert len(model.mask_paths) == len(model.cameras) and model.ply_file_path == "points.ply"
    export(replace(small_scene, motion_masks=None), tmp_path / "plain", "nerfstudio")
    assert read_nerfstudio(tmp_path / "plain").mask_paths == []


def test_masks_of_some_frames_only_are_refused(tmp_path: Path) -> None:
    cameras = [Camera(40, 30, 33.0, 33.0, 20.0, 15.0, pose) for pose in random_poses(2, 1)]
    write_nerfstudio(tmp_path / "transforms.json", NerfstudioModel(cameras, ["a.png", "b.png"], ["c.png", "d.png"]))
    content = json.loads((tmp_path / "transforms.json").read_text())
    del content["frames"][1]["mask_path"]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="a mask_path for 1 of 2 frames"):
        read_nerfstudio(tmp_path)

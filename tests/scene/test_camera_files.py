"""Scenes whose input was taken with a lens that distorts: saved, loaded, exported, refined."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.folder import load_scene, replace_cameras, save_scene
from scene.formats.colmap_reader import read_colmap
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.registry import export
from scene.frames import MemoryFrames
from scene.lens import Lens
from scene.scene import Scene
from scene.undistortion import UndistortedFrames, Undistortion, lens_of_camera

_LENS = Lens("equidistant", 41, 30, 36.0, 36.0, 20.5, 15.0, (0.01,))


@pytest.fixture
def distorted_scene(small_scene: Scene) -> Scene:
    """The small scene as if its frames had been undistorted."""
    images = np.stack([small_scene.frames.rgb8(index) for index in range(5)])
    undistortion = Undistortion.of(_LENS, centered=True)
    seen = MemoryFrames(images)
    cameras = [
        replace(undistortion.pinhole, world_from_camera=camera.world_from_camera) for camera in small_scene.cameras
    ]
    frames = UndistortedFrames(seen, undistortion)
    return replace(small_scene, frames=frames, cameras=cameras, lens=_LENS, input_frames=seen)


def test_the_input_and_the_mapping_are_kept(distorted_scene: Scene, tmp_path: Path) -> None:
    save_scene(distorted_scene, tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene")
    assert loaded.lens == _LENS and loaded.input_frames is not None and distorted_scene.input_frames is not None
    np.testing.assert_array_equal(loaded.input_frames.rgb8(3), distorted_scene.input_frames.rgb8(3))
    np.testing.assert_array_equal(loaded.frames.rgb8(3), distorted_scene.frames.rgb8(3))
    lines = (tmp_path / "scene" / "distorted" / "sparse" / "0" / "cameras.txt").read_text().splitlines()
    assert lines[-1].startswith("1 OPENCV_FISHEYE 41 30 36.0 36.0 20.5 15.0 0.01 0.0 0.0 0.0")
    # the model of the undistorted images is that of a pinhole camera
    assert read_colmap(tmp_path / "scene" / "sparse" / "0").cameras[0].fx == 36.0
    (tmp_path / "scene" / "input" / "00001.png").unlink()
    with pytest.raises(InputError, match="input/00001.png"):
        load_scene(tmp_path / "scene")


def test_refined_cameras_keep_the_lens(distorted_scene: Scene, tmp_path: Path) -> None:
    save_scene(distorted_scene, tmp_path / "scene")
    refined = [replace(camera, fx=camera.fx * 1.01, fy=camera.fy * 1.01) for camera in distorted_scene.cameras]
    replace_cameras(tmp_path / "scene", refined, "by a test")
    loaded = load_scene(tmp_path / "scene")
    assert loaded.lens == _LENS and loaded.cameras[0].fx == pytest.approx(36.36)
    assert (tmp_path / "scene" / "distorted" / "sparse" / "0" / "cameras.bin").is_file()


def test_nerfstudio_gets_both(distorted_scene: Scene, tmp_path: Path) -> None:
    export(distorted_scene, tmp_path, "nerfstudio")
    content = json.loads((tmp_path / "transforms_distorted.json").read_text())
    assert (content["camera_model"], content["k1"]) == ("OPENCV_FISHEYE", 0.01)
    read = read_nerfstudio(tmp_path / "transforms_distorted.json", distorted=True)
    assert read.lenses[0] == _LENS
    for path in (*read.file_paths, *read.mask_paths):
        assert (tmp_path / path).is_file()
    assert read_nerfstudio(tmp_path / "transforms.json").cameras[0].fx == 36.0


@pytest.mark.parametrize("lens", [_LENS, Lens("perspective", 41, 30, 36.0, 36.0, 20.5, 15.0, (-0.1, 0.02))])
def test_the_lens_of_a_refined_camera_sees_the_same_pixels(lens: Lens) -> None:
    undistortion = Undistortion.of(lens, centered=True)
    assert lens_of_camera(undistortion, undistortion.pinhole) == lens
    camera = replace(undistortion.pinhole, fx=undistortion.pinhole.fx * 1.03, fy=undistortion.pinhole.fy * 1.03)
    pixels = np.random.default_rng(0).uniform([0, 0], [41, 30], (100, 2))
    rays = np.column_stack([(pixels - [camera.cx, camera.cy]) / camera.fx, np.ones(100)])
    found = lens_of_camera(undistortion, camera).project(rays)
    np.testing.assert_allclose(found, undistortion.lens_pixels(pixels), atol=1e-3)

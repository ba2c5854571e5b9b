"""Projects of COLMAP and nerfstudio as scenes."""

import json
from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.folder import load_scene, save_scene
from scene.formats.colmap_reader import read_colmap
from scene.formats.exportable import Exportable
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.registry import export
from scene.images import write_png
from scene.open_scene import can_open, open_scene
from scene.projects.opening import ProjectChoice, is_project, open_project
from tests.gaussian.wall_scene import COUNT, make_scene
from tests.scene.projects.project_folders import NAMES, colmap_project, distorted


def test_a_colmap_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    cameras = colmap_project(project, offset=(500000.0, 4500000.0, 100.0))
    assert is_project(project) and can_open(project) and not is_project(tmp_path)
    scene = open_scene(project)
    assert list(scene.frames.names) == NAMES and scene.predictor == "colmap"
    assert scene.provenance["given"] == ["cameras", "points"] and scene.z_depths is None and scene.motion_masks is None
    for found, camera in zip(scene.cameras, cameras, strict=True):
        np.testing.assert_allclose(found.world_from_camera, camera.world_from_camera, atol=1e-8)
        np.testing.assert_allclose(found.intrinsics, camera.intrinsics)
    np.testing.assert_array_equal(scene.frames.rgb8(7), make_scene(mover=False).frames.rgb8(7))
    # single precision would move them by a quarter of a meter
    assert scene.points is not None and scene.points.positions.dtype == np.float64
    assert np.abs(scene.points.positions % 0.25).max() > 0 and scene.given_points is scene.points
    few = open_project(project, ProjectChoice(max_size=36, frames=slice(2, None, 3), max_frames=2))
    assert list(few.frames.names) == [NAMES[2], NAMES[5]] and (few.frames.width, few.frames.height) == (36, 24)
    assert few.cameras[0].fx == 30.0 and few.provenance["source_frames"] == [2, 5]


def test_the_text_files_with_a_byte_order_mark(tmp_path: Path) -> None:
    colmap_project(tmp_path)
    for path in (tmp_path / "sparse/0").glob("*.bin"):
        path.unlink()
    for path in (tmp_path / "sparse/0").glob("*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    scene = open_scene(tmp_path)
    assert list(scene.frames.names) == NAMES  # two blanks in them
    (tmp_path / "sparse/0/points3D.txt").unlink()
    assert open_scene(tmp_path).points is None


def test_lens_distortion_is_taken_out(tmp_path: Path) -> None:
    colmap_project(tmp_path)
    for path in (tmp_path / "sparse/0").glob("*.bin"):
        path.unlink()
    (tmp_path / "sparse/0/cameras.txt").write_text("1 SIMPLE_RADIAL 72 48 60 36 24 -0.15\n")
    true = make_scene(mover=False).frames
    for index, name in enumerate(NAMES):
        write_png(tmp_path / "images" / name, distorted(true.rgb8(index), -0.15))
    scene = open_scene(tmp_path)
    assert scene.provenance["undistorted_images"] == COUNT
    camera, inner = scene.cameras[3], (slice(8, 40), slice(12, 60))
    assert camera.fx == pytest.approx(60.0, rel=0.2)
    raw = np.abs(distorted(true.rgb8(3), -0.15)[inner].astype(float) - true.rgb8(3)[inner]).mean()
    if camera.fx == pytest.approx(60.0):
        assert np.abs(scene.frames.rgb8(3)[inner].astype(float) - true.rgb8(3)[inner]).mean() < 0.3 * raw


def test_masks_and_names_travel(tmp_path: Path) -> None:
    project = tmp_path / "project"
    colmap_project(project)
    for index, name in enumerate(NAMES):
        mask = np.full((48, 72), 255, np.uint8)
        mask[:, : 10 + index] = 0
        path = project / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, mask)
    scene = open_scene(project)
    assert (
        scene.motion_masks is not None
        and scene.motion_masks[2][:, :12].all()
        and not scene.motion_masks[2][:, 12:].any()
    )
    save_scene(scene, tmp_path / "ours")
    ours = load_scene(tmp_path / "ours")
    assert ours.given_points is not None and len(ours.given_points.positions) == 300
    # exports keep the names of the images, with their folders
    export(Exportable.of_scene(ours), tmp_path / "out", "colmap")
    assert read_colmap(tmp_path / "out").names == NAMES
    ours.z_depths = make_scene().z_depths
    export(Exportable.of_scene(ours), tmp_path / "studio", "nerfstudio")
    model = read_nerfstudio(tmp_path / "studio")
    assert model.file_paths == [f"images/{name}" for name in NAMES] and model.mask_paths[0] == f"masks/{NAMES[0]}"
    # and what was exported is a project again
    again = open_scene(tmp_path / "studio")
    np.testing.assert_allclose(again.cameras[4].world_from_camera, scene.cameras[4].world_from_camera, atol=1e-12)
    np.testing.assert_array_equal(again.motion_masks[2], scene.motion_masks[2])  # type: ignore[index]
    assert list(again.frames.names) == NAMES and again.points is not None


def nerfstudio_project(folder: Path, **further: object) -> dict:
    scene = make_scene(mover=False)
    frames = []
    for index in range(4):
        write_png_in(folder / "images" / f"{index}.png", scene.frames.rgb8(index))
        depth = np.rint(scene.z_depths[index] * 1000).astype(np.uint16)  # type: ignore[index]
        import cv2

        (folder / "depths").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"depths/{index}.png"), depth)
        matrix = scene.cameras[index].world_from_camera @ np.diag([1.0, -1, -1, 1])
        frames.append(
            {
                "file_path": f"./images/{index}",
                "depth_file_path": f"depths/{index}.png",
                "transform_matrix": matrix[:3].tolist(),
            }
        )
    content = {"w": 72, "h": 48, "fl_x": 60.0, "fl_y": 60.0, "cx": 36.0, "cy": 24.0, "frames": frames, **further}
    (folder / "transforms.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    return content


def write_png_in(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)


def test_a_nerfstudio_project_with_depth(tmp_path: Path) -> None:
    nerfstudio_project(tmp_path)
    scene, true = open_scene(tmp_path), make_scene(mover=False)
    assert scene.provenance["given"] == ["cameras", "depth"]
    np.testing.assert_allclose(scene.z_depths[1], true.z_depths[1], atol=6e-4)  # type: ignore[index]
    np.testing.assert_allclose(scene.cameras[2].world_from_camera, true.cameras[2].world_from_camera, atol=1e-12)


def test_a_fisheye_is_undistorted_and_a_panorama_refused(tmp_path: Path) -> None:
    nerfstudio_project(tmp_path, camera_model="OPENCV_FISHEYE", k1=0.01)
    scene = open_scene(tmp_path)
    assert scene.provenance["undistorted_images"] == 4 and scene.frames.rgb8(0).shape == (48, 72, 3)
    nerfstudio_project(tmp_path, camera_model="EQUIRECTANGULAR")
    with pytest.raises(InputError, match="EQUIRECTANGULAR"):
        open_scene(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "images" / NAMES[3]).unlink(), "is missing; the project names it"),
        (lambda p: write_png(p / "images" / NAMES[3], np.zeros((72, 48, 3), np.uint8)), "another shape"),
        (lambda p: (p / "images" / NAMES[3]).write_bytes(b"no image"), "not an image"),
        (lambda p: (p / "sparse/0/images.bin").write_bytes(b"\xff" * 8), "declares"),
        (lambda p: (p / "sparse/0/cameras.bin").write_bytes(b"\xff" * 900), "cameras.bin"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, spoil, message: str) -> None:
    colmap_project(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        scene = open_scene(tmp_path)
        scene.frames.rgb8(3)


@pytest.mark.parametrize(
    "values",
    [
        {"fl_x": int("9" * 400)},
        {"w": 1e300},
        {"cx": None},
        {"cy": [[[[]]]]},
        {"k1": "a"},
        {"k1": 1e300},
        {"camera_model": ["OPENCV"]},
        {"depth_unit_scale_factor": -1},
        {"depth_unit_scale_factor": "m"},
        {"ply_file_path": "nowhere.ply"},
        {"frames": [{"file_path": "\ud800", "transform_matrix": np.eye(4).tolist()}]},
        {"frames": [{"file_path": "images/0", "transform_matrix": (np.eye(4) * 1e300).tolist()}]},
        {"frames": {}},
    ],
)
def test_absurd_values_of_nerfstudio(tmp_path: Path, values: dict) -> None:
    content = nerfstudio_project(tmp_path)
    (tmp_path / "transforms.json").write_text(json.dumps({**content, **values}))
    with pytest.raises(InputError) as error:
        open_scene(tmp_path)
    assert len(str(error.value)) < 600 and str(error.value).encode("utf-8")

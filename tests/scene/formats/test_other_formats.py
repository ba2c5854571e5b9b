"""nerfstudio, TUM and DAS3R: against files written by hand, by their own authors' code, or with known answers."""

import json
import math
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.errors import InputError
from scene.folder import save_scene
from scene.formats.colmap_reader import read_colmap
from scene.formats.das3r import is_das3r, read_das3r, write_das3r
from scene.formats.nerfstudio import NerfstudioModel, read_nerfstudio, write_nerfstudio
from scene.formats.tum import read_tum, write_tum
from scene.images import read_image, write_png
from scene.maps import LoadedMaps
from scene.open_scene import is_scene, open_scene
from scene.rotations import quaternion_from_rotation
from tests.paths import DATA


def random_poses(count: int, seed: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = np.random.default_rng(seed).normal(0, 5, (count, 3))
    return poses


class TestNerfstudio:
    def test_axes(self, tmp_path: Path) -> None:
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
    def test_round_trip(self, tmp_path: Path, shared: bool) -> None:
        cameras = [
            Camera(40 + (0 if shared else i), 30, 33.3, 34.4, 19.9, 15.1, pose)
            for i, pose in enumerate(random_poses(3, 1))
        ]
        names = [f"images/{i}.png" for i in range(3)]
        masks = [f"masks/{i}.png" for i in range(3)]
        write_nerfstudio(tmp_path / "transforms.json", NerfstudioModel(cameras, names, masks))
        content = json.loads((tmp_path / "transforms.json").read_text())
        assert ("fl_x" in content) == shared and ("fl_x" in content["frames"][0]) != shared
        model = read_nerfstudio(tmp_path / "transforms.json")
        assert model.file_paths == names and model.mask_paths == masks and model.depth_paths is None
        for before, after in zip(cameras, model.cameras, strict=True):
            assert np.array_equal(before.world_from_camera, after.world_from_camera)
            assert np.array_equal(before.intrinsics, after.intrinsics)
            assert (before.width, before.height) == (after.width, after.height)

    def test_field_of_view_and_size_from_the_image(self, tmp_path: Path) -> None:
        """As in the synthetic scenes of NeRF: no size, no suffix, one angle."""
        (tmp_path / "train").mkdir()
        write_png(tmp_path / "train" / "r_0.png", np.zeros((20, 40, 3), np.uint8))
        frame = {"file_path": "./train/r_0", "transform_matrix": np.eye(4).tolist()}
        (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": math.pi / 2, "frames": [frame]}))
        camera = read_nerfstudio(tmp_path).cameras[0]
        assert (camera.width, camera.height, camera.cx, camera.cy) == (40, 20, 20.0, 10.0)
        assert math.isclose(camera.fx, 20.0) and math.isclose(camera.fy, 20.0)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"frames": []}, "no list"),
            ({"frames": "many"}, "no list"),
            ({"k1": 0.1}, "lens distortion"),
            ({"fl_x": -1}, "not positive"),
            ({"fl_x": None}, "intrinsics"),
            ({"w": 0}, "0x20 pixels"),
            ({"w": "wide"}, "the size of"),
            ({"frames": [{"file_path": "a.png"}]}, "transform_matrix of a.png"),
            ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, "no file_path"),
            ({"frames": [{"file_path": "a.png", "transform_matrix": (2 * np.eye(4)).tolist()}]}, "not a rigid"),
        ],
    )
    def test_defects(self, tmp_path: Path, change: dict, expected: str) -> None:
        content = {"fl_x": 50, "fl_y": 51, "cx": 20, "cy": 10, "w": 40, "h": 20}
        frames = [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]
        path = tmp_path / "transforms.json"
        path.write_text(json.dumps({**content, "frames": frames, **change}))
        with pytest.raises(InputError, match=expected) as caught:
            read_nerfstudio(path)
        assert str(path) in str(caught.value)

    def test_masks_for_some_frames_only(self, tmp_path: Path) -> None:
        frames = [{"file_path": f"{i}.png", "transform_matrix": np.eye(4).tolist()} for i in range(2)]
        frames[0]["mask_path"] = "m.png"
        path = tmp_path / "transforms.json"
        path.write_text(json.dumps({"fl_x": 50, "w": 40, "h": 20, "frames": frames}))
        with pytest.raises(InputError, match="mask_path for some frames"):
            read_nerfstudio(path)


class TestTum:
    def test_one_line_by_hand(self, tmp_path: Path) -> None:
        """A quarter turn about z: x of the camera points along world y. The scalar part is last."""
        (tmp_path / "t.txt").write_text("# a comment\n1.5 1 2 3 0 0 0.7071067811865476 0.7071067811865476\n\n")
        times, poses = read_tum(tmp_path / "t.txt")
        assert times.tolist() == [1.5]
        assert np.allclose(poses[0], [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(count=st.integers(1, 8), seed=st.integers(0, 2**31), rate=st.floats(1e-3, 1e9))
    def test_round_trip(self, tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, rate: float) -> None:
        path = tmp_path_factory.mktemp("tum") / "trajectory.txt"
        poses, times = random_poses(count, seed), [index / rate for index in range(count)]
        write_tum(path, times, poses)
        assert all("e" not in line for line in path.read_text().splitlines()[1:])  # plain decimals for simple readers
        times_after, poses_after = read_tum(path)
        assert np.array_equal(times_after, times)
        assert np.allclose(poses_after, poses, atol=1e-12)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "no line with numbers"),
            ("1 2 3\n", "3 values in line 1"),
            ("0 0 0 0 0 0 0 1\n0 0 0 0 0 0 x 1\n", "not a number in line 2"),
            ("0 0 0 nan 0 0 0 1\n", "not finite in line 1"),
            ("0 0 0 0 0 0 0 0\n", "quaternion of length 0"),
            ("0 0 0 0 1 1 1 1\n", "quaternion of length 2"),
        ],
    )
    def test_defects(self, tmp_path: Path, text: str, expected: str) -> None:
        (tmp_path / "t.txt").write_text(text)
        with pytest.raises(InputError, match=expected):
            read_tum(tmp_path / "t.txt")

    def test_evo_reads_it(self, tmp_path: Path) -> None:
        file_interface = pytest.importorskip("evo.tools.file_interface", reason="evo is for development only")
        poses = random_poses(5, 2)
        write_tum(tmp_path / "t.txt", [0.1 * i for i in range(5)], poses)
        trajectory = file_interface.read_tum_trajectory_file(str(tmp_path / "t.txt"))
        assert np.allclose(trajectory.poses_se3, poses)


@pytest.fixture
def das3r(tmp_path: Path) -> Path:
    """Three frames that DAS3R's own code wrote, in both layouts: output/ and output_rearranged/."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


class TestDas3r:
    @pytest.mark.parametrize("layout", ["output", "output_rearranged"])
    def test_both_layouts(self, das3r: Path, layout: str) -> None:
        folder = das3r / layout
        assert is_das3r(folder) and not is_das3r(das3r)
        scene = read_das3r(folder)
        assert len(scene.frames) == 3 and (scene.frames.width, scene.frames.height) == (32, 24)
        assert scene.motion_masks and scene.z_depths and scene.confidences
        for index in range(3):
            stem = das3r / "output" / f"frame_{index:04d}"
            assert np.array_equal(scene.z_depths[index], np.load(f"{stem}.npy"))
            assert np.array_equal(scene.motion_masks[index], np.load(das3r / "output" / f"dyna_avg_{index}.npy"))
            stored = np.load(das3r / "output" / f"conf_{index}.npy")
            confidence = scene.confidences[index]
            assert np.array_equal(confidence > 0, stored > 0)  # what DAS3R's trainer keeps: conf > log(1)
            assert np.allclose(confidence[stored > 0], 1 - 1 / np.exp(stored[stored > 0]), atol=1e-6)
            assert confidence.max() < 1

    def test_paths_are_written_as_its_evaluation_writes_them(self, das3r: Path, tmp_path: Path) -> None:
        """Golden: the text of a path (t, x, y, z, then the quaternion with w first), here of its first three poses."""
        golden = np.load(DATA / "das3r_metrics_pose.npz")
        scene = read_das3r(das3r / "output")
        cameras = [replace(camera, world_from_camera=golden["c0_est"][i]) for i, camera in enumerate(scene.cameras)]
        write_das3r(replace(scene, cameras=cameras), tmp_path / "written")
        expected = np.loadtxt(str(golden["c0_saved_text"]).splitlines()[:3])
        np.testing.assert_allclose(np.loadtxt(tmp_path / "written" / "pred_traj.txt"), expected, atol=1e-12)
        for case in ("c0", "c1", "c2"):
            vectors, poses = golden[f"{case}_tum_gt"], golden[f"{case}_gt"]
            np.testing.assert_allclose(vectors[:, :3], poses[:, :3, 3])
            quaternions = quaternion_from_rotation(poses[:, :3, :3])
            np.testing.assert_allclose(np.abs((quaternions * vectors[:, 3:]).sum(axis=1)), 1.0, atol=1e-6)

    def test_poses_agree_with_its_own_colmap_files(self, das3r: Path) -> None:
        """images.txt of the rearranged layout holds camera_from_world, with the quaternion in COLMAP's order."""
        lines = (das3r / "output_rearranged" / "sparse" / "0" / "images.txt").read_text().split("\n\n")
        for camera, line in zip(read_das3r(das3r / "output").cameras, lines, strict=False):
            w, x, y, z, *translation = [float(word) for word in line.split()[1:8]]
            assert np.allclose(camera.camera_from_world[:3, :3], Rotation.from_quat([x, y, z, w]).as_matrix())
            assert np.allclose(camera.camera_from_world[:3, 3], translation)

    def test_points_are_where_its_trainer_puts_them(self, shared: Path, tmp_path: Path) -> None:
        """Golden: the Gaussians that DAS3R's trainer starts from, one per confident pixel."""
        with tarfile.open(shared / "parity" / "das3r" / "gs_layout_example.tar.gz") as archive:
            archive.extractall(tmp_path, filter="data")
        golden = np.load(shared / "parity" / "das3r" / "gs_init.npz")
        scene = read_das3r(tmp_path / "output_rearranged")
        assert scene.z_depths and scene.confidences
        points = []
        for index, camera in enumerate(scene.cameras):
            points.append(camera.unproject(scene.z_depths[index])[scene.confidences[index] > 0])
        assert np.allclose(np.concatenate(points), golden["all__xyz"], atol=1e-4)

    def test_thresholded_masks_serve_when_probabilities_are_missing(self, das3r: Path) -> None:
        expected = [(np.load(das3r / "output" / f"dyna_avg_{i}.npy") > 0.5).astype(np.float32) for i in range(3)]
        for i in range(3):
            (das3r / "output" / f"dyna_avg_{i}.npy").unlink()
        shutil.rmtree(das3r / "output_rearranged" / "dyna_avg")
        for layout in ("output", "output_rearranged"):
            masks = read_das3r(das3r / layout).motion_masks
            assert masks and all(np.array_equal(masks[i], expected[i]) for i in range(3))

    @pytest.mark.parametrize("layout", ["output", "output_rearranged"])
    def test_writing_what_was_read(self, das3r: Path, tmp_path: Path, layout: str) -> None:
        """Every file that DAS3R's own code wrote is there again with the same content."""
        written = tmp_path / "written"
        write_das3r(read_das3r(das3r / layout), written, rearranged=layout != "output")
        for original in sorted((das3r / layout).rglob("*.*")):
            copy = written / original.relative_to(das3r / layout)
            if original.suffix == ".npy" and not original.name.startswith(("dyna_max", "init_conf")):
                values, expected = np.load(copy), np.load(original)
                assert values.dtype == expected.dtype
                assert np.allclose(values, expected, atol=1e-4), original  # 1 - 1 / c and back, in float32
            elif original.suffix == ".png":
                assert np.array_equal(read_image(copy), read_image(original)), original
            elif original.name == "pred_traj.txt":
                assert np.allclose(np.loadtxt(copy), np.loadtxt(original), atol=1e-9)
            elif original.name in ("pred_focal.txt", "pred_intrinsics.txt"):
                # the difference in the principal point is what reading adds, so the numbers are those of the original
                assert np.allclose(np.loadtxt(copy), np.loadtxt(original), atol=1e-6)
            else:
                assert copy.is_file(), original

    def test_its_colmap_files_hold_the_same_cameras(self, das3r: Path, tmp_path: Path) -> None:
        scene = read_das3r(das3r / "output")
        write_das3r(scene, tmp_path / "written", rearranged=True)
        (tmp_path / "written" / "sparse" / "0" / "points3D.txt").touch()  # the layout has none
        for ours, theirs in zip(scene.cameras, read_colmap(tmp_path / "written" / "sparse" / "0").cameras, strict=True):
            assert np.allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-9)
            assert np.allclose(ours.intrinsics, theirs.intrinsics)

    def test_writing_a_scene_of_ours(self, das3r: Path, tmp_path: Path) -> None:
        scene = read_das3r(das3r / "output")
        scene = replace(scene, motion_masks=None, confidences=None)
        scene.z_depths = LoadedMaps(3, lambda index: np.where(np.arange(32) < 4, 0, 2.0 * np.ones((24, 32))))
        write_das3r(scene, tmp_path / "written")
        again = read_das3r(tmp_path / "written")
        assert again.motion_masks and again.z_depths and again.confidences
        assert (again.confidences[1] > 0).sum() == 24 * 28 and again.confidences[1].max() > 0.999
        assert again.motion_masks[2].max() == 0
        with pytest.raises(InputError, match="exists already"):
            write_das3r(scene, tmp_path / "written")
        with pytest.raises(InputError, match="no depth"):
            write_das3r(replace(scene, z_depths=None), tmp_path / "other")

    def test_any_layout_opens(self, das3r: Path, tmp_path: Path) -> None:
        assert is_scene(das3r / "output") and is_scene(das3r / "output_rearranged") and not is_scene(das3r)
        save_scene(read_das3r(das3r / "output"), tmp_path / "ours")
        for folder in (das3r / "output", das3r / "output_rearranged", tmp_path / "ours"):
            assert is_scene(folder) and len(open_scene(folder).frames) == 3
        with pytest.raises(InputError, match="is not a scene: it has neither"):
            open_scene(das3r)
        with pytest.raises(InputError, match="does not exist"):
            open_scene(tmp_path / "nothing")

    def test_defects(self, das3r: Path) -> None:
        folder = das3r / "output"
        with pytest.raises(InputError, match="is not a scene of DAS3R"):
            read_das3r(das3r)
        np.save(folder / "conf_1.npy", np.zeros((3, 3), np.float32))
        with pytest.raises(InputError, match="conf_1.npy: the array has shape"):
            read_das3r(folder)
        np.save(folder / "conf_1.npy", np.empty((24, 32), object))
        with pytest.raises(InputError, match="conf_1.npy: the array is of type object"):
            read_das3r(folder)
        (folder / "conf_1.npy").write_bytes(b"\x93NUMPY")
        with pytest.raises(InputError, match="conf_1.npy is damaged"):
            read_das3r(folder)
        (folder / "conf_1.npy").unlink()
        with pytest.raises(InputError, match="2 files conf_.*npy for 3 poses"):
            read_das3r(folder)
        (folder / "pred_intrinsics.txt").write_text("1 0 0 0 1 0 0 0 1\n")
        with pytest.raises(InputError, match="1 lines for 3 poses"):
            read_das3r(folder)

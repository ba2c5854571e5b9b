"""Both layouts of DAS3R against files and numbers of its own code."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.errors import InputError
from scene.formats.colmap_reader import read_colmap
from scene.formats.das3r import is_das3r, read_das3r, write_das3r
from scene.images import read_image
from scene.maps import LoadedMaps
from scene.rotations import quaternion_from_rotation
from tests.paths import DATA


@pytest.mark.parametrize("layout", ["output", "output_rearranged"])
def test_both_layouts(das3r: Path, layout: str) -> None:
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


def test_paths_are_written_as_its_evaluation_writes_them(das3r: Path, tmp_path: Path) -> None:
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


def test_poses_agree_with_its_own_colmap_files(das3r: Path) -> None:
    """images.txt of the rearranged layout holds camera_from_world, with the quaternion in COLMAP's order."""
    lines = (das3r / "output_rearranged" / "sparse" / "0" / "images.txt").read_text().split("\n\n")
    for camera, line in zip(read_das3r(das3r / "output").cameras, lines, strict=False):
        w, x, y, z, *translation = [float(word) for word in line.split()[1:8]]
        assert np.allclose(camera.camera_from_world[:3, :3], Rotation.from_quat([x, y, z, w]).as_matrix())
        assert np.allclose(camera.camera_from_world[:3, 3], translation)


def test_points_are_where_its_trainer_puts_them(shared: Path, tmp_path: Path) -> None:
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


def test_thresholded_masks_serve_when_probabilities_are_missing(das3r: Path) -> None:
    expected = [(np.load(das3r / "output" / f"dyna_avg_{i}.npy") > 0.5).astype(np.float32) for i in range(3)]
    for i in range(3):
        (das3r / "output" / f"dyna_avg_{i}.npy").unlink()
    shutil.rmtree(das3r / "output_rearranged" / "dyna_avg")
    for layout in ("output", "output_rearranged"):
        masks = read_das3r(das3r / layout).motion_masks
        assert masks and all(np.array_equal(masks[i], expected[i]) for i in range(3))


@pytest.mark.parametrize("layout", ["output", "output_rearranged"])
def test_writing_what_was_read(das3r: Path, tmp_path: Path, layout: str) -> None:
    """Every file that DAS3R's own predictor wrote is there again with the same content, whichever layout was read."""
    written = tmp_path / "written"
    write_das3r(read_das3r(das3r / layout), written)
    for original in sorted((das3r / "output").rglob("*.*")):
        copy = written / original.name
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


def test_its_colmap_files_hold_the_same_cameras(das3r: Path) -> None:
    sparse = das3r / "output_rearranged" / "sparse" / "0"
    (sparse / "points3D.txt").touch()  # the layout has none
    for ours, theirs in zip(read_das3r(das3r / "output").cameras, read_colmap(sparse).cameras, strict=True):
        assert np.allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-6)
        half_pixel = [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]  # its pixel centers are at whole numbers
        assert np.allclose(ours.intrinsics, theirs.intrinsics + half_pixel, atol=1e-5)


def test_writing_a_scene_of_ours(das3r: Path, tmp_path: Path) -> None:
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


def test_defects(das3r: Path) -> None:
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

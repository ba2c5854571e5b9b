"""Scenes in DAS3R's layout against what its own trainer reads from them."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from scene.formats.das3r import read_das3r
from scene.gaussians import sh_from_color
from scene.rotations import quaternion_from_rotation, rotation_from_quaternion
from scene.scene import Scene
from tests.paths import DATA


@pytest.fixture(scope="module")
def start(shared: Path) -> dict[str, np.ndarray]:
    """The initial state of DAS3R's trainer: with all frames ("all_"), and with one held out ("eval_")."""
    return dict(np.load(shared / "parity" / "das3r" / "gs_init.npz"))


@pytest.fixture(scope="module")
def scene(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("das3r")
    with tarfile.open(shared / "parity" / "das3r" / "gs_layout_example.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return read_das3r(folder / "output_rearranged")


def test_quaternions_and_matrices() -> None:
    golden = dict(np.load(DATA / "das3r_gs_math.npz"))
    assert np.allclose(rotation_from_quaternion(golden["q2"]), golden["rot"], atol=1e-6)
    ours, theirs = quaternion_from_rotation(golden["rot"]), golden["quad"]
    assert np.allclose(ours * np.sign((ours * theirs).sum(axis=1, keepdims=True)), theirs, atol=1e-6)


def test_cameras_are_those_of_its_trainer(start: dict[str, np.ndarray], scene: Scene) -> None:
    camera_from_world = np.array([camera.camera_from_world for camera in scene.cameras])
    quaternions = quaternion_from_rotation(camera_from_world[:, :3, :3])
    assert np.allclose(np.abs((quaternions * start["all_Q"]).sum(axis=1)), 1, atol=1e-6)
    assert np.allclose(camera_from_world[:, :3, 3], start["all_T"], atol=1e-6)
    for side, length in (("x", 32), ("y", 24)):
        focal = getattr(scene.cameras[0], f"f{side}")
        assert 2 * np.arctan(length / 2 / focal) == pytest.approx(float(start[f"all_FoV{side}"]), abs=1e-6)


def test_colors_and_static_weights_are_those_of_its_first_gaussians(start: dict[str, np.ndarray], scene: Scene) -> None:
    assert scene.confidences is not None and scene.motion_masks is not None
    colors = np.concatenate([scene.frames[i][scene.confidences[i] > 0] for i in range(6)])
    ours = sh_from_color(torch.from_numpy(colors)).numpy()
    assert np.allclose(ours, start["all__features_dc"][:, 0], atol=1e-6)
    static = np.stack([1 - scene.motion_masks[i] for i in range(6)])
    assert np.allclose(static, start["all__conf_static"], atol=1e-6)

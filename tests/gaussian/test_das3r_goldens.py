"""Where our Gaussian side claims what DAS3R's does, against what its code gave; and its scenes train as they lie.

What differs on purpose has no test here: the first Gaussians (cells that see a surface once, static pixels only,
instead of every pixel of every frame), the masked loss (a mean over static pixels), the learning rates and the pose
parameters. docs/evaluation.md and docs/gaussian.md say why.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from simple_knn._C import distCUDA2

from gaussian.losses import ssim_map
from gaussian.metrics import psnr_das3r
from gaussian.settings import TrainSettings
from scene.folder import save_scene
from scene.formats.das3r import read_das3r
from scene.gaussians import sh_from_color
from scene.open_scene import open_scene
from scene.rotations import quaternion_from_rotation, rotation_from_quaternion
from scene.scene import Scene
from tests.paths import DATA
from train_gui import main


@pytest.fixture(scope="module")
def math_golden() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "das3r_gs_math.npz"))


@pytest.fixture(scope="module")
def start(shared: Path) -> dict[str, np.ndarray]:
    """What its trainer starts from: once with all frames ("all_"), once with one held out ("eval_")."""
    return dict(np.load(shared / "parity" / "das3r" / "gs_init.npz"))


@pytest.fixture(scope="module")
def scene(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("das3r")
    with tarfile.open(shared / "parity" / "das3r" / "gs_layout_example.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return read_das3r(folder / "output_rearranged")


def test_quaternions_and_matrices(math_golden: dict[str, np.ndarray]) -> None:
    assert np.allclose(rotation_from_quaternion(math_golden["q2"]), math_golden["rot"], atol=1e-6)
    ours, theirs = quaternion_from_rotation(math_golden["rot"]), math_golden["quad"]
    assert np.allclose(ours * np.sign((ours * theirs).sum(axis=1, keepdims=True)), theirs, atol=1e-6)


def test_colour_as_a_constant_harmonic(math_golden: dict[str, np.ndarray]) -> None:
    ours = sh_from_color(torch.from_numpy(math_golden["rgb"])).numpy()
    assert np.allclose(ours, math_golden["rgb2sh"], atol=1e-6)


def test_cameras_are_what_its_trainer_makes_of_them(start: dict[str, np.ndarray], scene: Scene) -> None:
    camera_from_world = np.array([camera.camera_from_world for camera in scene.cameras])
    quaternions = quaternion_from_rotation(camera_from_world[:, :3, :3])
    assert np.allclose(np.abs((quaternions * start["all_Q"]).sum(axis=1)), 1, atol=1e-6)
    assert np.allclose(camera_from_world[:, :3, 3], start["all_T"], atol=1e-6)
    for side, length in (("x", 32), ("y", 24)):
        focal = getattr(scene.cameras[0], f"f{side}")
        assert 2 * np.arctan(length / 2 / focal) == pytest.approx(float(start[f"all_FoV{side}"]), abs=1e-6)


def test_colours_and_static_weights_of_its_first_gaussians(start: dict[str, np.ndarray], scene: Scene) -> None:
    assert scene.confidences is not None and scene.motion_masks is not None
    colors = np.concatenate([scene.frames[i][scene.confidences[i] > 0] for i in range(6)])
    ours = sh_from_color(torch.from_numpy(colors)).numpy()
    assert np.allclose(ours, start["all__features_dc"][:, 0], atol=1e-6)
    static = np.stack([1 - scene.motion_masks[i] for i in range(6)])
    assert np.allclose(static, start["all__conf_static"], atol=1e-6)


@pytest.mark.parametrize("case", ["all", "eval"])
def test_sizes_from_nearest_neighbours(start: dict[str, np.ndarray], case: str) -> None:
    """The drop-in package gives the scales that its own gave."""
    squared = distCUDA2(torch.from_numpy(start[f"{case}__xyz"])).clamp_min(1e-7)
    assert np.allclose(squared.sqrt().log().numpy(), start[f"{case}__scaling"][:, 0], atol=1e-5)


def test_the_same_frames_are_held_out(start: dict[str, np.ndarray]) -> None:
    held_out = TrainSettings(protocol="das3r").test_frames(6)
    assert [f"frame_{i:04d}" for i in held_out] == start["eval_test_names"].tolist()


def test_psnr_of_its_test_frames() -> None:
    """Where the annotated mask moves both images are black."""
    golden = np.load(DATA / "das3r_gs_losses.npz")
    render, true = (golden[name].transpose(1, 2, 0).clip(0, 1) for name in ("render", "gt"))
    static = golden["gt_dynamic_mask"] == 0
    assert psnr_das3r(render, true, static) == pytest.approx(float(golden["psnr_test"]), abs=1e-4)
    assert np.abs((render - true) * static[..., None]).mean() == pytest.approx(float(golden["l1_test"]), rel=1e-5)


def test_similarity_of_weighted_images_and_gradients() -> None:
    """Its loss, from our map of structural similarity."""
    golden = {name: torch.from_numpy(array) for name, array in np.load(DATA / "das3r_gs_losses.npz").items()}
    render, static = golden["render"].requires_grad_(True), golden["static"].requires_grad_(True)
    similarity = ssim_map(render * static, golden["gt"] * static)
    difference = ((render - golden["gt"]) * static).abs()
    loss = (0.8 * difference + 0.2 * (1 - similarity)).mean()
    loss.backward()
    for value, name in (
        (difference, "l1_map"),
        (similarity, "ssim_map"),
        (similarity.mean(), "ssim_mean"),
        (loss, "loss"),
    ):
        assert torch.allclose(value.detach(), golden[name], atol=1e-5), name
    for leaf, name in ((render, "grad_render"), (static, "grad_static")):
        assert leaf.grad is not None and torch.allclose(leaf.grad, golden[name], rtol=1e-3, atol=1e-8), name


def test_psnr_without_a_mask() -> None:
    golden = np.load(DATA / "das3r_gs_losses.npz")
    render, true = (golden[name].transpose(1, 2, 0) for name in ("render", "gt"))
    everywhere = np.ones(render.shape[:2], bool)
    assert psnr_das3r(render, true, everywhere) == pytest.approx(float(golden["psnr_unmasked"]), abs=1e-4)
    # the figure that decides there whether a camera moves: both images weighted by the learned static weight
    weight = golden["static"][..., None]
    gate = psnr_das3r(render * weight, true * weight, everywhere)
    assert gate == pytest.approx(float(golden["psnr_gate"]), abs=1e-4)
    assert gate == pytest.approx(float(golden["psnr_channels"].mean()), abs=1e-4)


@pytest.mark.parametrize("layout", ["output", "output_rearranged"])
def test_its_scenes_train_as_they_lie(tmp_path: Path, layout: str) -> None:
    """`train_gui.py -s` on what DAS3R's own code wrote, with no step in between."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    model = tmp_path / "model"
    assert main(["-s", str(tmp_path / layout), "-m", str(model), "--iter", "200"]) == 0
    description = json.loads((model / "settings.json").read_text())
    assert description["predictor"] == "das3r" and description["gaussians"] > 50
    history = json.loads((model / "history.json").read_text())["history"]
    assert history[-1]["psnr"] > history[0]["psnr"] + 0.3
    assert (model / "point_cloud" / "iteration_200" / "point_cloud.ply").is_file()


def test_what_is_no_scene_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["-s", str(tmp_path / "empty"), "-m", str(tmp_path / "model")]) == 2
    assert "is no scene: it has neither scene.json nor DAS3R's" in capsys.readouterr().err
    with pytest.raises(ValueError, match="does not exist"):
        open_scene(tmp_path / "absent")


def test_a_model_does_not_go_into_our_own_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cameras.json would replace the scene's; into a scene of DAS3R it may go, as its users do."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    theirs, ours = tmp_path / "output", tmp_path / "ours"
    save_scene(read_das3r(theirs), ours)
    before = (ours / "cameras.json").read_bytes()
    assert main(["-s", str(ours), "-m", str(ours), "--iter", "5"]) == 2
    assert "is a scene; give another folder for the model" in capsys.readouterr().err
    assert (ours / "cameras.json").read_bytes() == before
    assert main(["-s", str(theirs), "-m", str(theirs), "--iter", "5"]) == 0
    assert len(open_scene(theirs).frames) == 3

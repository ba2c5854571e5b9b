"""Scenes of any size and place: equal results, in the coordinates of the scene (issue: a near plane of .01 units)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from gaussian.model_folder import load_model
from gaussian.rendering import render
from gaussian.train_result import TrainResult
from gaussian.trainer import train
from render import main as render_main
from scene.formats.splat_ply import load_ply, save_ply
from scene.gaussians import Gaussians
from scene.images import read_image
from scene.moved_scene import moved_scene
from scene.similarity import Similarity
from scene.splat_rendering import Renderer
from tests.gaussian.wall_scene import SETTINGS, make_scene

SHORT = replace(SETTINGS, iterations=40, test_every=4)
PLACES = {
    "0.0001": (1e-4, (0.0, 0.0, 0.0)),
    "1000000": (1e6, (0.0, 0.0, 0.0)),
    "UTM": (1.0, (500000.0, 4500000.0, 100.0)),
    "UTM, small": (0.003, (500000.0, 4500000.0, 100.0)),
}


@pytest.fixture(scope="module")
def usual() -> TrainResult:
    return train(make_scene(), SHORT, None)


@pytest.mark.parametrize("place", PLACES)
def test_scale_and_place_change_nothing(usual: TrainResult, tmp_path: Path, place: str) -> None:
    scale, offset = PLACES[place]
    moved = Similarity(scale, np.eye(3), np.array(offset))
    scene = moved_scene(make_scene(), moved)
    result = train(scene, SHORT, tmp_path)
    assert abs(result.test_metrics["psnr_das3r"] - usual.test_metrics["psnr_das3r"]) < 0.2
    for camera, other in zip(result.cameras, usual.cameras, strict=True):
        distance = np.linalg.norm(camera.center - moved.apply_to_points(other.center))
        assert distance < 5e-3 * scale + 1e-8
    # the files: cameras and positions are those of the scene, whatever they were computed in
    model = load_model(tmp_path)
    np.testing.assert_array_equal(model.cameras[3].world_from_camera, result.cameras[3].world_from_camera)
    vertices = PlyData.read(str(tmp_path / "point_cloud/iteration_40/point_cloud.ply"))["vertex"]
    positions = np.stack([np.asarray(vertices[name], np.float64) for name in "xyz"], axis=1)
    back = moved.inverse().apply_to_points(positions)
    assert 2.5 < np.median(back[:, 2]) < 4.5 and np.abs(back).max() < 100
    image = render(usual.gaussians, usual.cameras[5]).image
    assert np.abs(render(model.gaussians, model.cameras[5]).image - image).mean() < 0.02
    rendering = Renderer(model.gaussians).render(model.cameras[5])
    assert np.median(rendering.z_depth[rendering.z_depth > 0]) == pytest.approx(4.0 * scale, rel=0.3)
    # positions that single precision would move by centimeters are double, and a comment says so
    is_double = vertices["x"].dtype == np.float64
    assert is_double == ("UTM" in place)
    assert (b"x y z are double" in (tmp_path / "point_cloud/iteration_40/point_cloud.ply").read_bytes()) == is_double


def test_resuming_at_another_place(tmp_path: Path) -> None:
    moved = Similarity(1e-3, np.eye(3), np.array([500000.0, 4500000.0, 100.0]))
    scene = moved_scene(make_scene(), moved)
    short = replace(SHORT, checkpoint_every=20)
    whole = train(scene, short, tmp_path / "whole")
    train(scene, replace(short, iterations=20), tmp_path / "parts")
    # a finished model goes on to more iterations
    resumed = train(scene, short, tmp_path / "parts", resume=True)
    assert len(resumed.history) and resumed.cameras[0].center == pytest.approx(whole.cameras[0].center, abs=1e-5)
    with pytest.raises(ValueError, match="iterations"):
        train(scene, replace(short, iterations=10), tmp_path / "parts", resume=True)


def test_a_model_of_another_program_at_any_scale(usual: TrainResult, tmp_path: Path) -> None:
    """cameras.json and point_cloud/ are enough, as 3DGS leaves them."""
    train(make_scene(), SHORT, tmp_path / "ours")
    ours = load_model(tmp_path / "ours")
    for name, (scale, offset) in PLACES.items():
        moved = Similarity(scale, np.eye(3), np.array(offset))
        theirs = tmp_path / name
        gaussians = replace(ours.gaussians, world_from_local=moved @ ours.gaussians.world_from_local)
        save_ply(theirs / "point_cloud/iteration_7/point_cloud.ply", gaussians)
        from scene.formats.sibr import write_sibr_cameras

        cameras = [camera.moved(moved.apply_to_poses(camera.world_from_camera)) for camera in ours.cameras]
        write_sibr_cameras(theirs / "cameras.json", [f"{i}.jpg" for i in range(len(cameras))], cameras)
        arguments = ["-s", "elsewhere", "-m", str(theirs), "--path", "input", "-o", str(tmp_path / f"{name} out")]
        assert render_main([*arguments, "--iter", "7"]) == 0
        image = read_image(tmp_path / f"{name} out" / "00003.png")
        expected = np.rint(Renderer(ours.gaussians).render(ours.cameras[3]).image * 255)
        assert np.abs(image - expected).mean() < 0.3
        assert render_main([*arguments, "--iter", "8"]) == 2


def test_double_positions_are_read(tmp_path: Path) -> None:
    place = Similarity(0.25, np.eye(3), np.array([500000.0, 4500000.0, 100.0]))
    local = load_ply_of(tmp_path, place)
    np.testing.assert_allclose(local.world_means(), place.apply_to_points(local.means.numpy().astype(float)), atol=1e-9)
    again = load_ply(tmp_path / "far.ply", place)
    np.testing.assert_allclose(again.means.numpy(), local.means.numpy(), atol=1e-6)
    np.testing.assert_allclose(again.log_scales.numpy(), local.log_scales.numpy(), atol=1e-5)


def load_ply_of(folder: Path, place: Similarity) -> Gaussians:
    import torch

    generator = torch.Generator().manual_seed(0)
    means = torch.randn(50, 3, generator=generator)
    colors = torch.rand(50, 3, generator=generator)
    gaussians = Gaussians.isotropic(means, torch.full((50,), -4.0), torch.full((50,), 0.5), colors, 1)
    gaussians = replace(gaussians, world_from_local=place)
    save_ply(folder / "far.ply", gaussians)
    return gaussians

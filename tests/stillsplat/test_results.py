"""What `open_result` makes of runs, models, scenes and splat files."""

import numpy as np
import pytest
import torch

from scene.errors import InputError
from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians
from stillsplat.results import flow_between, open_result, overview_camera
from tests.conftest import textured


def _gaussians() -> Gaussians:
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(400, 3, generator=generator) * torch.tensor([2.0, 1.0, 3.0]) + torch.tensor([5.0, 0, -2])
    return Gaussians.isotropic(means, torch.full((400,), -3.0), torch.full((400,), 0.5), torch.rand(400, 3), 0)


def test_a_run_a_model_and_a_scene(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    run = open_result(out)
    assert run.name == "out" and run.scene is not None and run.gaussians is not None and len(run.cameras) == 8
    assert run.scene_folder == out / "scene" and run.static_image(3).shape == (40, 64, 3)
    model, scene = open_result(out / "model"), open_result(out / "scene")
    assert model.scene is None and len(model.gaussians) == len(run.gaussians) and len(model.cameras) == 8
    assert scene.gaussians is None and scene.static_image(0) is None and scene.scene_folder == out / "scene"


def test_splats_are_seen_from_outside_and_broken_ones_are_left_out(tmp_path):
    gaussians = _gaussians()
    gaussians.means[5, 2] = float("inf")
    save_ply(tmp_path / "some.ply", gaussians)
    result = open_result(tmp_path / "some.ply")
    assert result.broken == 1 and len(result.gaussians) == 399 and result.name == "some"
    camera = result.cameras[0]
    pixels, depth = camera.project(result.gaussians.means.numpy().astype(float))
    inside = (pixels >= 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1) & (depth > 0)
    assert inside.mean() > 0.8
    one = Gaussians.isotropic(torch.zeros(1, 3), torch.zeros(1), torch.full((1,), 0.5), torch.rand(1, 3), 0)
    assert np.isfinite(overview_camera(one).world_from_camera).all()


def test_an_unfinished_run(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    import json

    record = json.loads((out / "run.json").read_text())
    record["stages"].pop("optimize"), record["stages"].pop("render")
    (out / "run.json").write_text(json.dumps(record))
    assert open_result(out).gaussians is None and open_result(out).renders == ()
    record["stages"] = {}
    (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="has no scene yet"):
        open_result(out)


def test_flow_between_frames_for_the_brush():
    class Frames:
        def rgb8(self, index: int) -> np.ndarray:
            wide = textured(140, 96)
            return np.ascontiguousarray(wide[:, 3 * index : 3 * index + 96])

    flow = flow_between(Frames())(0, 1)  # type: ignore[arg-type]
    assert np.abs(np.median(flow[20:-20, 20:-20], axis=(0, 1)) - [-3, 0]).max() < 0.5

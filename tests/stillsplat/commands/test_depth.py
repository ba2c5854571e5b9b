"""stillsplat depth with a Depth Anything 3 network: one image, images of any size, exports."""

import json
import os

import numpy as np
import pycolmap
import pytest
import torch

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.settings import BackboneSettings, HeadSettings, NetworkSettings
from scene.images import write_png
from stillsplat.cli import main


@pytest.fixture
def tiny_model(monkeypatch) -> DepthAnything3:
    """A small any-view network with Gaussians in place of whatever a command would load."""
    torch.manual_seed(0)
    head = HeadSettings(16, (12, 16, 24, 32))
    network = build_network(NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), head, gaussians=True))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.05)
    torch.nn.init.constant_(network.cam_dec.fc_fov[0].bias, 1.0)
    model = DepthAnything3(network, name="tiny", device="cpu")
    for module in ("stillsplat.depth", "stillsplat.exported_depth", "dynamic_predictor.driver.predictors"):
        monkeypatch.setattr(f"{module}.load_depth_anything3", lambda name, weights=None, device="auto": model)
    return model


@pytest.fixture
def images(tmp_path):
    """Three images of different shapes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name, (width, height) in {"a": (60, 40), "b": (40, 60), "c": (240, 30)}.items():
        write_png(folder / f"{name}.png", generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return folder


def _depth(*arguments) -> int:
    return main(["depth", *map(str, arguments), "--predictor", "da3-small", "--max-size", "56"])


def _sentence(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("stillsplat: ")]
    assert len(lines) == 1 and lines[0].endswith(".")
    return lines[0]


def test_one_image(tiny_model, images, tmp_path):
    assert _depth(images / "b.png", "-o", tmp_path / "out") == 0
    assert np.load(tmp_path / "out" / "depth" / "00000.npz")["z_depth"].shape == (56, 42)


def test_images_of_different_sizes_are_refused_together_and_taken_each(tiny_model, images, tmp_path, capsys):
    assert _depth(images, "-o", tmp_path / "out") == 2
    assert "--each" in _sentence(capsys) and not (tmp_path / "out").exists()
    assert _depth(images, "-o", tmp_path / "out", "--each") == 0
    shapes = [np.load(tmp_path / "out" / "depth" / f"{index:05d}.npz")["z_depth"].shape for index in range(3)]
    assert shapes == [(42, 56), (56, 42), (14, 56)]


def test_exports_lie_beside_the_maps(tiny_model, images, tmp_path):
    out = tmp_path / "out"
    formats = "mini_npz-glb-ply-colmap-feat_vis-gs_ply-gs_video"
    options = ["--export-features", "1,5", "--trajectory", "original", "--max-points", "100"]
    assert _depth(images / "[ab].png", "-o", out, "--export", formats, *options) == 0
    for name in (
        "scene.glb",
        "points.ply",
        "feat_vis/feat_layer_5.mp4",
        "gs_ply/0000.ply",
        "gs_video/0000_original.mp4",
    ):
        assert (out / name).stat().st_size > 300
    with np.load(out / "exports" / "mini_npz" / "results.npz") as arrays:
        depth = arrays["depth"]
    for index in range(2):
        np.testing.assert_allclose(np.load(out / "depth" / f"{index:05d}.npz")["z_depth"], depth[index], atol=1e-6)
    model = pycolmap.Reconstruction(str(out))
    assert {image.name for image in model.images.values()} == {"a.png", "b.png"}
    assert len(model.points3D) == 100
    assert json.loads((out / "depth.json").read_text())["settings"]["export"]["formats"] == formats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--export", "usdz"], "usdz"),
        (["--export", "feat_vis"], "--export-features"),
        (["--export", "feat_vis", "--export-features", "last"], "numbers of blocks"),
        (["--export", "glb", "--conf-percentile", "120"], "percentile"),
        (["--export", "gs_video", "--trajectory", "loop"], "trj_mode"),
        (["--export", "glb", "--metric"], "no metres"),
        (["--metric"], "no metres"),
        (["--max-frames", "0"], "--max-frames"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(tiny_model, images, tmp_path, capsys, options, message):
    assert _depth(images / "[ab].png", "-o", tmp_path / "out", *options) == 2
    assert message in _sentence(capsys)
    assert os.listdir(tmp_path) == ["pictures"]


def test_exports_need_depth_anything_3(images, tmp_path, capsys):
    assert main(["depth", str(images), "-o", str(tmp_path / "out"), "--export", "glb"]) == 2
    assert "da3-small" in _sentence(capsys)


def test_an_unknown_predictor_is_answered_with_all_that_depth_takes(images, tmp_path, capsys):
    assert main(["depth", str(images), "-o", str(tmp_path / "out"), "--predictor", "nope"]) == 2
    sentence = _sentence(capsys)
    for name in ("da3-metric", "da3-mono", "da3-small", "geometric"):
        assert name in sentence

"""`stillsplat depth`: clips, single images of any size, meters, exports, and one sentence for every mistake."""

import json
import os

import numpy as np
import pycolmap
import pytest
from PIL import Image

from dynamic_predictor.contract import Prediction
from dynamic_predictor.depth_anything3.model import DepthAnything3
from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor
from dynamic_predictor.specs import registered
from scene.errors import InputError
from scene.images import write_png
from stillsplat.cli import main
from stillsplat.depth import estimate_depth_maps
from stillsplat.depth_settings import DepthSettings
from tests.simulated_stream import SimulatedPredictor, SimulatedWalk
from tests.stillsplat.stand_ins import fake_spec, tiny_model


@pytest.fixture
def network(monkeypatch):
    """A small any-view network with Gaussians in place of the published weights."""
    model = tiny_model()
    monkeypatch.setattr(DepthAnything3, "from_pretrained", lambda *arguments, **options: model)
    monkeypatch.setattr(DepthAnything3Predictor, "require", lambda self: None)
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
    return main(["depth", *map(str, arguments), "--predictor", "da3-giant", "--max-size", "56"])


def _sentence(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("stillsplat: ")]
    assert len(lines) == 1 and lines[0].endswith(".")
    return lines[0]


def test_one_image(network, images, tmp_path):
    assert _depth(images / "b.png", "-o", tmp_path / "out") == 0
    assert np.load(tmp_path / "out" / "depth" / "00000.npz")["z_depth"].shape == (56, 42)


def test_images_of_different_sizes_are_refused_together_and_taken_each(network, images, tmp_path, capsys):
    assert _depth(images, "-o", tmp_path / "out") == 2
    assert "--each" in _sentence(capsys) and not (tmp_path / "out").exists()
    assert _depth(images, "-o", tmp_path / "out", "--each") == 0
    shapes = [np.load(tmp_path / "out" / "depth" / f"{index:05d}.npz")["z_depth"].shape for index in range(3)]
    assert shapes == [(42, 56), (56, 42), (14, 56)]


def test_exports_lie_beside_the_maps(network, images, tmp_path):
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
    assert json.loads((out / "depth.json").read_text())["settings"]["export"] == formats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--export", "usdz"], "usdz"),
        (["--export", "feat_vis"], "--export-features"),
        (["--export", "feat_vis", "--export-features", "last"], "numbers of blocks"),
        (["--export", "glb", "--conf-percentile", "120"], "percentile"),
        (["--export", "gs_video", "--trajectory", "loop"], "--trajectory"),
        (["--export", "glb", "--metric"], "no depth in meters"),
        (["--metric"], "no depth in meters"),
        (["--max-frames", "0"], "--max-frames"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(network, images, tmp_path, capsys, options, message):
    assert _depth(images / "[ab].png", "-o", tmp_path / "out", *options) == 2
    assert message in _sentence(capsys)
    assert os.listdir(tmp_path) == ["pictures"]


def test_any_predictor_exports_what_it_has(tmp_path, capsys):
    folder = _walk(tmp_path, 12)
    with registered(fake_spec("simulated", lambda: SimulatedPredictor(SimulatedWalk(12)))):
        command = ["depth", str(folder), "-o", str(tmp_path / "out"), "--predictor", "simulated", "--export"]
        assert main([*command, "glb,nerfstudio,npz"]) == 0
        assert main([*command, "gs_ply", "--overwrite"]) == 2
    assert "Gaussian" in _sentence(capsys)
    assert (tmp_path / "out" / "scene.glb").stat().st_size > 500 and (tmp_path / "out" / "transforms.json").exists()


def test_options_that_the_predictor_does_not_have_are_refused(tmp_path, capsys):
    folder = _walk(tmp_path, 3)
    for option in (["--use-ray-pose"], ["--export-features", "1"], ["--ref-view-strategy", "first"]):
        assert main(["depth", str(folder), "-o", str(tmp_path / "out"), *option]) == 2
        assert option[0] in _sentence(capsys)


def test_an_unknown_predictor_is_answered_with_all_that_depth_takes(images, tmp_path, capsys):
    assert main(["depth", str(images), "-o", str(tmp_path / "out"), "--predictor", "nope"]) == 2
    sentence = _sentence(capsys)
    for name in ("da3-metric", "da3-mono", "da3-small", "geometric"):
        assert name in sentence


def _walk(tmp_path, count):
    folder = tmp_path / "walk"
    folder.mkdir()
    for index in range(count):
        write_png(folder / f"{index:05d}.png", SimulatedWalk(count).image(index))
    return folder


def test_depth_of_a_clip(tmp_path):
    walk, images = SimulatedWalk(30), _walk(tmp_path, 30)
    settings = DepthSettings(str(images), chunk_size=20, overlap=8, png16=True)
    assert estimate_depth_maps(settings, tmp_path / "out", predictor=SimulatedPredictor(walk)) == 30
    out = tmp_path / "out"
    description = json.loads((out / "depth.json").read_text())
    found = np.load(out / "depth" / "00021.npz")["z_depth"]
    ratio = found / walk.z_depth(21)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
    steps = np.asarray(Image.open(out / "png16" / "00021.png")).astype(np.float64)
    np.testing.assert_allclose(steps * description["png16_step"], found, atol=description["png16_step"])
    assert len(list((out / "previews").iterdir())) == 30 and (out / "preview.mp4").stat().st_size > 500
    assert description["unit"] == "relative"
    with pytest.raises(InputError, match="exists already"):
        estimate_depth_maps(settings, out)


class _Monocular:
    """Stands in for a metric model: depth is the image width over the focal length, in meters where that is known."""

    def predict(self, views, **more):
        height, width = views.frames.height, views.frames.width
        depth = np.full((1, height // 2, width // 2), width / (views.focal or 1.0), np.float32)
        return Prediction(z_depth=depth, confidence=np.full_like(depth, 0.5), is_metric=views.focal is not None)


def test_depth_of_single_images_of_any_size(tmp_path):
    for index, (width, height) in enumerate(((64, 48), (40, 80))):
        write_png(tmp_path / f"{index}.png", np.full((height, width, 3), 90 + index, np.uint8))
    settings = DepthSettings(str(tmp_path / "*.png"), predictor="da3-metric", metric=True, fov=90.0)
    assert estimate_depth_maps(settings, tmp_path / "out", predictor=_Monocular()) == 2
    for index, shape in enumerate(((24, 32), (40, 20))):
        found = np.load(tmp_path / "out" / "depth" / f"{index:05d}.npz")["z_depth"]
        assert found.shape == shape
        np.testing.assert_allclose(found, 2.0, rtol=1e-6)  # width / (width / 2)
    assert json.loads((tmp_path / "out" / "depth.json").read_text())["unit"] == "m"
    with pytest.raises(InputError, match="--fov"):
        estimate_depth_maps(DepthSettings(str(tmp_path), predictor="da3-metric", metric=True), tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("arguments", [["no_such_folder"], ["{}", "--metric"], ["{}", "--each"], ["{}", "--fps", "0"]])
def test_mistakes_without_a_network_are_one_sentence(arguments, tmp_path, capsys):
    folder = _walk(tmp_path, 3)
    assert main(["depth", *(word.replace("{}", str(folder)) for word in arguments), "-o", str(tmp_path / "out")]) == 2
    _sentence(capsys)
    assert not (tmp_path / "out").exists()

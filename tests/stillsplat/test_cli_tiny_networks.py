"""Every learned predictor of the table with a tiny network of made-up weights, through every command and a benchmark.

The geometry is nonsense, but nothing is replaced between the command and the network.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor import specs as table
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.depth_anything3.model import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS, NestedSettings
from dynamic_predictor.launch import main as launch
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import specs
from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor, VGGTPredictor
from gaussian.settings import TrainSettings
from scene.folder import load_scene
from stillsplat.cli import main
from tests.dynamic_predictor.cut3r import small_networks as cut3r_networks
from tests.dynamic_predictor.das3r.small_networks import MINIMAL, filled_network
from tests.dynamic_predictor.depth_anything3.tiny_models import ANY_VIEW, MONOCULAR
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import make_hiroom
from tests.dynamic_predictor.streamvggt import tiny_networks as vggt_networks
from tests.stillsplat.stand_ins import clip_images, write_clip

COUNT = 4
LEARNED = [name for name, spec in specs().items() if spec.weights]
#: one row of each kind of network; the others differ in size only
KINDS = [
    *("das3r", "monst3r", "da3-small", "da3-giant", "da3-nested", "da3-metric"),
    *("cut3r", "cut3r-224", "streamvggt", "vggt"),
]
COMMANDS = ("run", "predict", "poses", "depth")


def _tiny_depth_anything(name: str) -> DepthAnything3:
    published = PUBLISHED_MODELS[name].settings
    any_view = replace(ANY_VIEW, gaussians=specs()[name].gaussians)
    if isinstance(published, NestedSettings):
        settings = NestedSettings(any_view, MONOCULAR)
    else:
        settings = MONOCULAR if published.backbone.alternating_from is None else any_view
    torch.manual_seed(0)
    network = build_network(settings)
    for key, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.05)
        if key.endswith("cam_dec.fc_fov.0.bias"):
            torch.nn.init.constant_(parameter, 1.0)
    return DepthAnything3(network, name=name, device="cpu")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    with torch.no_grad():
        save_pth(filled_network(MINIMAL), folder / "das3r.pth")
        save_pth(filled_network(replace(MINIMAL, has_mask_heads=False)), folder / "monst3r.pth")
    return {name: folder / f"{name}.pth" for name in ("das3r", "monst3r")}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path]) -> Iterator[Callable[[str], list[str]]]:
    """`tiny(name)`: the words that make a command use the tiny network of the predictor `name`."""

    def row(spec: PredictorSpec) -> PredictorSpec:
        def load(settings, device, seed):
            if spec.name.startswith("cut3r"):
                network = cut3r_networks.filled_network(cut3r_networks.MINIMAL)
                return Cut3rPredictor(spec.weights[0], "linear", settings, device=device, network=network)
            if spec.name == "streamvggt":
                network = vggt_networks.filled_network(vggt_networks.MINIMAL)
                return StreamVGGTPredictor(settings, device=device, network=network)
            if spec.name == "vggt":
                network = vggt_networks.filled_network(vggt_networks.MINIMAL)
                return VGGTPredictor(settings, device=device, network=network)
            model = _tiny_depth_anything(spec.name)
            return DepthAnything3Predictor(spec.name, settings, device=device, seed=seed, model=model)

        return replace(spec, load=load)

    def words(name: str) -> list[str]:
        if name in checkpoints:
            align = ["--image-size", "96", "--alignment-iterations", "2", "--flow", "dis"]
            return ["--predictor", name, "--weights", str(checkpoints[name]), *align]
        monkeypatch.setitem(table._TABLE, name, row(specs()[name]))
        of_network = [] if name.startswith("da3") else ["--image-size", "64" if name.startswith("cut3r") else "56"]
        return ["--predictor", name, "--max-size", "56", *of_network]

    with torch.enable_grad():  # the global alignment needs gradients
        yield words


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip", clip_images(COUNT))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", KINDS)
def test_a_tiny_network_goes_through_every_command(fakes, tiny, clip, tmp_path, capsys, command, name):
    spec, out = specs()[name], tmp_path / "out"
    words = [command, str(clip), "-o", str(out), "--seed", "3", *tiny(name)]
    words += ["--no-loop", "--chunk-size", "3", "--overlap", "2"] if command == "poses" else []
    status = main(words)
    error = capsys.readouterr().err
    if not spec.cameras and command != "depth":
        assert status == 2 and "finds no cameras" in error
        return
    assert status == 0, error
    if command == "depth":
        for index in range(COUNT):
            with np.load(out / "depth" / f"{index:05d}.npz") as arrays:
                assert np.isfinite(arrays["z_depth"]).all() and arrays["z_depth"].max() > 0
        return
    scene = load_scene(out / "scene" if command == "run" else out)
    assert scene.predictor == name and scene.motion_masks is not None and scene.z_depths is not None
    assert all(np.isfinite(camera.world_from_camera).all() for camera in scene.cameras)
    assert scene.provenance["masks"].startswith("predicted" if spec.motion else "estimated")


@pytest.mark.parametrize("name", [name for name in LEARNED if name not in KINDS])
def test_a_row_of_another_size_predicts_too(tiny, clip, tmp_path, capsys, name):
    command = "predict" if specs()[name].cameras else "depth"
    assert main([command, str(clip), "-o", str(tmp_path / "out"), *tiny(name)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", KINDS)
def test_a_tiny_network_is_scored_on_a_data_set(tiny, tmp_path, capsys, name):
    make_hiroom(tmp_path)
    # launch.py has DAS3R's names: underscores, --pretrained and --n_iter
    names = {"--weights": "--pretrained", "--alignment-iterations": "--n_iter"}
    words = [names.get(word, word.replace("-", "_").replace("__", "--", 1)) if word.startswith("--") else word
             for word in tiny(name)]  # fmt: skip
    flow = words.index("--flow") if "--flow" in words else len(words)
    out = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent", "--max_frames=3"]
    status = launch(["--mode=eval_pose", "--eval_dataset=hiroom", *words[:flow], *out])
    error = capsys.readouterr().err
    if not specs()[name].cameras:
        assert status == 2 and "finds no cameras" in error
        return
    assert status == 0, error
    scores = json.loads((tmp_path / "out" / "evaluation" / "hiroom_pose.json").read_text())
    assert "auc_30" in json.dumps(scores)


@pytest.mark.parametrize("command", ["run", "predict", "depth"])
def test_exports_of_a_prediction_are_offered_by_every_command_that_predicts_a_clip_as_a_whole(
    fakes, tiny, clip, tmp_path, capsys, command
):
    out = tmp_path / "out"
    words = [command, str(clip), *tiny("da3-giant"), "--export", "gs_ply,feat_vis,glb", "--export-features", "2"]
    assert main([*words, "-o", str(out)]) == 0, capsys.readouterr().err
    folder = out / "export" if command == "run" else out
    assert (folder / "gs_ply" / "0000.ply").exists() and any((folder / "feat_vis").iterdir())
    assert (folder / "scene.glb").exists()
    capsys.readouterr()
    assert main([*words[:-2], "-o", str(tmp_path / "other")]) == 2
    assert "needs --export-features" in capsys.readouterr().err


def test_poses_refuses_what_only_a_whole_prediction_has(tiny, clip, tmp_path, capsys):
    words = ["poses", str(clip), "-o", str(tmp_path / "out"), *tiny("da3-giant"), "--export", "gs_ply"]
    assert main(words) == 2
    assert "gs_ply needs one Gaussian per pixel" in capsys.readouterr().err


def test_a_finished_prediction_is_not_exported_later(fakes, tiny, clip, tmp_path, capsys):
    words = ["run", str(clip), "-o", str(tmp_path / "out"), *tiny("da3-giant")]
    assert main(words) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main([*words, "--resume", "--export", "gs_ply"]) == 2
    assert "gs_ply can only be written while the clip is predicted" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--resume", "--export", "glb"]) == 0
    assert (tmp_path / "out" / "export" / "scene.glb").exists()


def test_the_official_behavior_is_chosen_where_there_is_one(fakes, tiny, clip, tmp_path, capsys):
    words = ["-o", str(tmp_path / "out"), "--strict-official"]
    assert main(["predict", str(clip), *words, *tiny("das3r")]) == 0, capsys.readouterr().err
    settings = load_scene(tmp_path / "out").provenance["settings"]
    assert settings["strict_official"] is True
    assert main(["predict", str(clip), "-o", str(tmp_path / "b"), "--strict-official"]) == 2
    assert "geometric has no official behavior to choose; leave out --strict-official" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_resumed(fakes, clip, tmp_path, capsys):
    """It wrote null for values of the optimizer's own choice."""
    out = tmp_path / "out"
    words = ["run", str(clip), "-o", str(out), "--predictor", "fake"]
    assert main(words) == 0
    record = json.loads((out / "run.json").read_text())
    record["settings"] |= {"iterations": None, "max_gaussians": None}
    del record["settings"]["predictor_options"]
    (out / "run.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert main([*words, "--resume"]) == 0, capsys.readouterr().err
    assert fakes.calls[-1]["settings"] == TrainSettings()


def test_an_explicit_predictor_is_refused_on_a_scene_of_another(fakes, tiny, clip, tmp_path, capsys):
    scene = tmp_path / "scene"
    assert main(["predict", str(clip), "-o", str(scene), "--predictor", "fake"]) == 0
    assert main(["run", str(scene), "-o", str(tmp_path / "out"), "--predictor", "geometric"]) == 2
    assert "leave out --predictor" in capsys.readouterr().err
    assert main(["run", str(scene), "-o", str(tmp_path / "out")]) == 0

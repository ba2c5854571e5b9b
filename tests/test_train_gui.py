"""train_gui.py: options in the spellings of DAS3R and 3DGS, DAS3R's scenes, and places where no model is written."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gaussian.model_folder import load_model
from gaussian.settings import TrainSettings
from render import main as render_main
from scene.folder import save_scene
from scene.formats.das3r import read_das3r
from scene.open_scene import open_scene
from stillsplat.results import open_result
from terminal.options import settings_from
from tests.gaussian.wall_scene import make_scene
from tests.paths import DATA, ROOT
from tests.scene.projects.project_folders import NAMES, colmap_project
from train_gui import _parser, main


@pytest.mark.parametrize("scene", ["-s", "--scene", "--source_path"])
@pytest.mark.parametrize("model", ["-m", "--model", "--model_path"])
def test_spellings_of_scene_and_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scene: str, model: str
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert main([scene, nowhere, model, str(tmp_path / "model")]) == 2
    assert nowhere in capsys.readouterr().err


def test_options_are_the_settings() -> None:
    def settings(*arguments: str) -> TrainSettings:
        return settings_from(_parser().parse_args(["-s", "scene", "-m", "model", *arguments]), TrainSettings)

    assert settings() == TrainSettings()
    given = "--iterations 7 --test-every 5 --densification none --no-exposure --sh-degree 3 --ssim-weight 0.2".split()
    assert settings(*given) == TrainSettings(
        iterations=7, test_every=5, densification="none", exposure=False, sh_degree=3, ssim_weight=0.2
    )
    assert settings("--iter", "9", "--device", "auto") == TrainSettings(iterations=9, device="auto")


@pytest.mark.parametrize("layout", ["output", "output_rearranged"])
def test_scenes_of_das3r_are_trained_without_conversion(tmp_path: Path, layout: str) -> None:
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    model = tmp_path / "model"
    assert main(["-s", str(tmp_path / layout), "-m", str(model), "--iter", "200"]) == 0
    description = json.loads((model / "settings.json").read_text())
    assert description["predictor"] == "das3r" and description["gaussians"] > 50
    history = json.loads((model / "history.json").read_text())["history"]
    assert history[-1]["psnr"] > history[0]["psnr"] + 0.3
    assert (model / "point_cloud" / "iteration_200" / "point_cloud.ply").is_file()


def test_a_scene_without_motion_masks_is_trained_after_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_scene()
    for name, masks in (("masked", scene.motion_masks), ("unmasked", None)):
        scene.motion_masks = masks
        save_scene(scene, tmp_path / name)
        command = ["-s", str(tmp_path / name), "-m", str(tmp_path / "model" / name), "--iter", "2", "--keep-cameras"]
        assert main(command) == 0
        warning = capsys.readouterr().err
        assert ("has no motion masks" in warning and f"stillsplat run {tmp_path / name}" in warning) == (masks is None)
        description = json.loads((tmp_path / "model" / name / "settings.json").read_text())
        assert description["motion_masks"] == (masks is not None)
        assert not description["settings"]["refine_cameras"] and not description["settings"]["refine_focal"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_cuda_without_a_gpu_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = tmp_path / "scene"
    save_scene(make_scene(), scene)
    assert main(["-s", str(scene), "-m", str(tmp_path / "model"), "--iter", "3", "--device", "cuda"]) == 2
    assert "no GPU" in capsys.readouterr().err and not (tmp_path / "model").exists()


def test_a_folder_that_is_no_scene_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["-s", str(tmp_path / "empty"), "-m", str(tmp_path / "model")]) == 2
    assert "is not a scene: it has neither scene.json nor" in capsys.readouterr().err
    with pytest.raises(ValueError, match="does not exist"):
        open_scene(tmp_path / "absent")


def test_a_model_in_the_folder_of_its_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a scene of ours it goes into a folder of its own, because its cameras.json would replace that of the scene.
    In a scene of DAS3R it lies beside the files, as DAS3R's users have it."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    theirs, ours = tmp_path / "output", tmp_path / "ours"
    save_scene(read_das3r(theirs), ours)
    before = (ours / "cameras.json").read_bytes()
    assert main(["-s", str(ours), "-m", str(ours), "--iter", "5"]) == 0
    assert f"the model is in {ours / 'model'}" in capsys.readouterr().out
    assert (ours / "cameras.json").read_bytes() == before and len(open_scene(ours).frames) == 3
    assert render_main(["-m", str(ours), "--path", "input"]) == 0
    assert (ours / "model/renders/input/00002.png").is_file()
    shown = open_result(ours)
    assert shown.gaussians is not None and shown.scene is not None
    assert main(["-s", str(theirs), "-m", str(theirs), "--iter", "5"]) == 0
    assert len(open_scene(theirs).frames) == 3


def test_the_command_lines_of_das3r(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """train_gui.py and render.py on NAME_rearranged, which nobody has to make."""
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.rmtree(tmp_path / "output_rearranged")
    place = str(tmp_path / "output_rearranged")
    assert main(["-s", place, "-m", place, "--iter", "5", "--eval_pose", "--gui"]) == 0
    assert render_main(["-s", place, "-m", place, "--iter", "5", "--get_video"]) == 0
    assert main(["-s", place, "-m", place, "--iter", "5", "--overwrite"]) == 0
    capsys.readouterr()
    for script in ("rearrange.py", "rearrange_davis.py", "rearrange_sintel.py"):
        done = subprocess.run(
            [sys.executable, ROOT / "utils" / script, "--output_dir=x"], capture_output=True, text=True
        )
        assert done.returncode == 0 and "Nothing has to be rearranged" in done.stdout
    for script, replacement in (
        ("data/download_sintel.sh", "data/download_sintel.py"),
        ("data/download_pointodyssey.sh", "data/download_pointodyssey.py"),
        ("dynamic_predictor/download_ckpt.sh", "stillsplat weights get das3r"),
    ):
        done = subprocess.run(["sh", ROOT / script], capture_output=True, text=True)
        assert done.returncode == 2 and replacement in done.stderr and done.stderr.count("\n") == 1


def test_a_colmap_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras = colmap_project(tmp_path / "project", mover=True)
    model, project = tmp_path / "project", str(tmp_path / "project")
    assert main(["-s", project, "-m", project, "--iter", "5", "--fixed-cameras"]) == 0
    loaded = load_model(model)
    for found, camera in zip(loaded.cameras, cameras, strict=True):
        np.testing.assert_allclose(found.world_from_camera, camera.world_from_camera, atol=1e-12)
    description = json.loads((model / "settings.json").read_text())
    assert description["frames"] == NAMES and description["predictor"] == "colmap" and description["motion_masks"]
    entries = json.loads((model / "cameras.json").read_text())
    assert [entry["id"] for entry in entries] == list(range(12)) and entries[7]["img_name"] == "right/a  1"
    np.testing.assert_allclose(entries[7]["position"], cameras[7].center, atol=1e-12)
    assert (model / "cfg_args").read_text().startswith("Namespace(sh_degree=")
    # a finished model goes on
    assert main(["-s", project, "-m", project, "--iter", "8", "--fixed-cameras", "--resume"]) == 0
    assert [path.name for path in (model / "point_cloud").iterdir()] == ["iteration_8"]
    assert main(["-s", project, "-m", project, "--iter", "6", "--fixed-cameras", "--resume"]) == 2
    assert main(["-s", project, "-m", str(tmp_path / "other"), "--max-size", "8"]) == 2
    assert "--max-size must be at least 16" in capsys.readouterr().err


def test_poses_are_scored_without_a_window_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene()
    save_scene(scene, tmp_path / "scene")
    command = ["-s", str(tmp_path / "scene"), "--iter", "3", "--eval_pose"]
    truth = ["--gt-poses", str(tmp_path / "scene" / "trajectory.txt")]
    assert main([*command, *truth, "-m", str(tmp_path / "scored")]) == 0
    printed = capsys.readouterr().out
    assert "predicted cameras (12 frames, sim3, units of the truth): ATE 0.00000" in printed
    assert printed.count("RPE rot") == 2 and "refined cameras" in printed
    assert main([*command, "-m", str(tmp_path / "unscored")]) == 0
    assert "--gt-poses" in capsys.readouterr().err
    # the window that cannot be opened
    monkeypatch.setattr("gui.display.why_no_window", lambda: "There is no display.")
    assert main([*command, *truth, "-m", str(tmp_path / "windowless"), "--gui"]) == 0
    assert "There is no display. The optimization goes on without a window." in capsys.readouterr().err
    assert (tmp_path / "windowless/point_cloud/iteration_3/point_cloud.ply").is_file()

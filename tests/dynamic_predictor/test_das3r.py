"""DAS3R and MonST3R with made-up weights, run by launch.py: the geometry is meaningless, but all results are written
and scored."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.launch import main
from scene.formats.das3r import read_das3r
from scene.images import write_png
from tests.dynamic_predictor.das3r.small_networks import MINIMAL, filled_network, save_hub_folder


def _make_dog(data_folder: Path) -> None:
    """Creates a DAVIS folder with one clip of four crops that move over a texture, and their masks."""
    root = data_folder / "davis" / "DAVIS"
    texture = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    mask = np.zeros((60, 100), np.uint8)
    mask[20:40, 30:60] = 255
    for index in range(4):
        for kind, image in (
            ("JPEGImages", texture[index : index + 60, 2 * index : 2 * index + 100]),
            ("Annotations", mask),
        ):
            path = root / kind / "480p" / "dog" / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.ascontiguousarray(image))


@pytest.mark.parametrize("name", ["das3r", "monst3r"])
def test_masks_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with torch.no_grad():
        config = MINIMAL if name == "das3r" else replace(MINIMAL, has_mask_heads=False)
        save_pth(filled_network(config), tmp_path / "made_up.pth")
    _make_dog(tmp_path / "data")
    command = [
        "--mode=eval_mask", f"--pretrained={tmp_path / 'made_up.pth'}", "--eval_dataset=davis",
        f"--data_folder={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}", "--use_pred_mask", "--layout=das3r",
        "--seq_list", "dog", "--n_iter=5", "--image_size=96", "--flow=dis", "--not_shared_focal", "--silent",
    ]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "evaluation" / "dog.json").read_text())
    assert record["made_by"]["predictor"] == name  # found from the file's keys
    assert record["made_by"]["predictor settings"]["shared_focal"] == "False"
    assert 0 <= record["mask"]["j_mean"] <= 1 and record["mask"]["frames"] == 4
    assert len(read_das3r(tmp_path / "out" / "dog").frames) == 4
    # repeating the command changes nothing, and other settings are refused in the same folder
    assert main(command) == 0
    assert main([*command, "--n_iter=6"]) == 2
    assert "was made with another predictor settings" in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["das3r_checkpoint-last.pth", "das3r/model.safetensors"])
def test_the_command_line_of_das3r(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: str
) -> None:
    """The checkpoint is found by its bare name in the weights folder, also where `stillsplat weights get` stores it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "kept"))
    path = tmp_path / "kept" / kept
    path.parent.mkdir(parents=True)
    with torch.no_grad():
        network = filled_network(MINIMAL)
        save_pth(network, path) if path.suffix == ".pth" else save_hub_folder(network, path.parent)
    _make_dog(tmp_path / "data")
    command = [
        "--mode=eval_pose", "--pretrained=das3r_checkpoint-last.pth", "--eval_dataset=davis", "--output_dir=out",
        "--use_pred_mask", "--seq_list", "dog", "--n_iter=2", "--image_size=96", "--flow=dis", "--silent",
    ]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    assert f"The weights are those in {path}." in capsys.readouterr().out
    assert json.loads((tmp_path / "out/evaluation/dog.json").read_text())["made_by"]["predictor"] == "das3r"


def test_sintel_has_the_flow_of_its_published_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DAS3R uses RAFT on Sintel and SEA-RAFT on all other data sets."""
    monkeypatch.setattr("dynamic_predictor.optical_flow.estimation.find_weights", lambda name: None)
    with torch.no_grad():
        save_pth(filled_network(MINIMAL), tmp_path / "made_up.pth")
    _make_dog(tmp_path / "data")
    (tmp_path / "data/sintel/training").mkdir(parents=True)
    shutil.copytree(tmp_path / "data/davis/DAVIS/JPEGImages/480p", tmp_path / "data/sintel/training/final")
    for name, asked, found in (
        ("davis", [], "sea-raft-spring-m"), ("sintel", [], "raft-sintel"), ("sintel", ["--flow=auto"], "raft-sintel"),
        ("sintel", ["--flow=sea-raft"], "sea-raft-spring-m"),
    ):  # fmt: skip
        output = tmp_path / "-".join([name, *asked])
        command = [
            "--mode=eval_pose", f"--pretrained={tmp_path / 'made_up.pth'}", f"--eval_dataset={name}",
            f"--data_folder={tmp_path / 'data'}", f"--output_dir={output}", "--seq_list", "dog",
            "--max_frames=2", "--n_iter=2", "--image_size=96", "--silent", *asked,
        ]  # fmt: skip
        assert main(command) == 0
        assert f"OpenCV's DIS stands in, which is less exact; `stillsplat weights get {found}`" in (
            " ".join(capsys.readouterr().err.split())
        )

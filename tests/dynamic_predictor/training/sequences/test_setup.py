"""The recipes for sequences through launch.py, by one process and by two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor import launch
from dynamic_predictor.streamvggt.architecture import Architecture
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.training.sequences.fresh_weights import draw_weights
from dynamic_predictor.training.sequences.recipes import RECIPES
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.weights.reading import read_checkpoint
from tests.paths import ROOT

SMALL_TEACHER = RECIPES["streamvggt-small"].network
assert isinstance(SMALL_TEACHER, Architecture)
SCRIPT = Path(__file__).with_name("launch_in_turn.py")


def losses(folder) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


def options(recipe: str, root: Path, output: Path, *more: str) -> list[str]:
    size = "32x32" if recipe.startswith("cut3r") else "56x56"
    words = f"--samples spring=8 --resolutions {size} --views 2 --epochs 1 --crop_extra 0 --color_jitter 0"
    words += f" --test_samples 2 --test_views 2 --test_resolution {size} --device=cpu --lr 5e-4"
    return [
        "--mode=train",
        f"--recipe={recipe}",
        f"--data={root}",
        f"--test_data={root}",
        f"--output_dir={output}",
        *words.split(),
        *more,
    ]


def sharded(name: str) -> list[str]:
    return ["--sharded"] if name.startswith("sharded") else []


def on_two_processes(runs: list[list[str]]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(SCRIPT), json.dumps(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[:3000]


RUNS = {
    "streamvggt": ("streamvggt-small",),
    "chunks": ("cut3r-small", "--freeze", "encoder", "--views", "3", "--chunk_views", "1", "--gradient_chunks", "2"),
    "points": ("vggt-small",),
    "whole": ("cut3r-small",),
    "sharded streamvggt": ("streamvggt-small",),
    "sharded chunks": (
        "cut3r-small",
        "--freeze",
        "encoder",
        "--views",
        "3",
        "--chunk_views",
        "1",
        "--gradient_chunks",
        "2",
    ),
    "sharded whole": ("cut3r-small", "--gradient_checkpointing"),
}
SETS = [
    ("streamvggt", "chunks"),
    pytest.param(("points", "whole"), marks=pytest.mark.slow),
    pytest.param(("sharded streamvggt", "sharded chunks", "sharded whole"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("names", SETS)
def test_two_processes_have_the_results_of_one(names, generated_root, tmp_path, capsys):
    """Each recipe by one process with batches of 4, and by two of torchrun with batches of 2, with DDP or FSDP."""
    teacher = GeometryNetwork(SMALL_TEACHER)
    draw_weights(teacher, 5)
    torch.save({"model": teacher.state_dict()}, tmp_path / "teacher.pth")
    taught = (f"--teacher={tmp_path / 'teacher.pth'}",)
    runs = {name: RUNS[name] + (taught if "streamvggt" in name else ()) for name in names}
    for name, (recipe, *more) in runs.items():
        assert launch.main(options(recipe, generated_root, tmp_path / name, "--batch_size", "4", *more)) == 0
    assert "eval_depth" in capsys.readouterr().out
    on_two_processes(
        [
            options(recipe, generated_root, tmp_path / f"{name} two", "--batch_size", "2", *sharded(name), *more)
            for name, (recipe, *more) in runs.items()
        ]
    )
    for name in runs:
        one, two = tmp_path / name, tmp_path / f"{name} two"
        np.testing.assert_allclose(losses(two), losses(one), rtol=1e-3, err_msg=name)
        tests = [next(line["test_loss"] for line in read_log(folder) if "test_loss" in line) for folder in (one, two)]
        assert tests[1] == pytest.approx(tests[0], rel=1e-2), name
        states = [read_checkpoint(folder / "checkpoint-final.pth").tensors for folder in (one, two)]
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key], value, rtol=1e-2, atol=2e-3, msg=f"{name} {key}")


def test_mistakes_are_one_sentence(generated_root, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "other.pth")
    small, output = "cut3r-small", tmp_path / "out"
    for words, sentence in (
        (options("cut3r-stage2", generated_root, output), "--pretrained"),
        (options("streamvggt-small", generated_root, output), "needs a teacher"),
        (options(small, generated_root, output, "--teacher=x.pth"), "has no teacher"),
        (options(small, generated_root, output, "--query_points=2"), "no --query_points"),
        (options(small, tmp_path / "empty", output), "lacks 1 of 1 training sets"),
        (options(small, generated_root, output, f"--pretrained={tmp_path / 'other.pth'}"), "another network"),
        (options(small, generated_root, output, "--pretrained=nowhere.pth"), "no file"),
        (options(small, generated_root, output, "--resume"), "nothing to resume"),
        (options(small, generated_root, output, "--lr=-1"), "learning_rate"),
        (options(small, generated_root, output, "--resolutions=30x30"), "multiples of 16"),
        (options(small, generated_root, output, "--freeze=all_but_points"), "for VGGT"),
    ):
        assert launch.main(words) == 2
        message = capsys.readouterr().err
        assert sentence in message and len(message.strip().splitlines()) == 1, message


def test_official_weights_that_are_missing_are_named_before_data_are_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    for recipe, name in (("streamvggt", "vggt"), ("cut3r-512-vary", "cut3r-512"), ("cut3r-224-fixed", "cut3r-224")):
        assert launch.main(["--mode=train", f"--recipe={recipe}", "--data=nowhere", "--output_dir=out"]) == 2
        assert f"The weights of {name} are not on this machine" in capsys.readouterr().err

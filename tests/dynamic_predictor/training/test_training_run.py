"""Small training runs: they learn, can be resumed exactly, and do not depend on the number of processes."""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor import launch
from dynamic_predictor.das3r.checkpoint import load_network
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.tracked_clips import list_tracked_clips
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.training.training_run import train
from dynamic_predictor.training.two_view.recipe import TwoViewRecipe
from dynamic_predictor.training.two_view.settings import SMALL
from scene.errors import InputError
from tests.dynamic_predictor.das3r.small_networks import MINIMAL
from tests.paths import ROOT

TINY = replace(MINIMAL, head_stage_widths=(8, 16, 16, 32))


SETTINGS = replace(
    SMALL,
    resolutions=((64, 48),),
    test_resolution=(64, 48),
    batch_size=4,
    pairs_per_epoch=16,
    test_pairs=4,
    epochs=2,
    learning_rate=2e-3,
)


ALONE = Process(0, 1, torch.device("cpu"))


def fresh() -> TwoViewNetwork:
    torch.manual_seed(0)
    return TwoViewNetwork(TINY)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


def run(folder: Path, tracked_folder: Path, settings=SETTINGS, network=None, **options):
    clips, test_clips = (list_tracked_clips(tracked_folder / part) for part in ("train", "test"))
    recipe = TwoViewRecipe(network or fresh(), clips, test_clips, settings)
    return train(recipe, folder, process=ALONE, **options)


def test_loss_decreases_and_files_are_written(tracked_folder, tmp_path):
    settings = replace(SETTINGS, epochs=4, pairs_per_epoch=24)
    validation = run(tmp_path / "out", tracked_folder, settings)
    curve = losses(tmp_path / "out")
    assert np.mean(curve[-6:]) < 0.7 * np.mean(curve[:3])
    assert validation is not None and validation.samples == 4
    for name in ("checkpoint-last.pth", "checkpoint-best.pth", "checkpoint-final.pth", "curves.png", "examples.png"):
        assert (tmp_path / "out" / name).is_file(), name
    # the result has the layout of the official checkpoints
    assert load_network(tmp_path / "out" / "checkpoint-final.pth", mask_heads=True).config == TINY


def test_an_interrupted_run_is_resumed_with_the_same_results(tracked_folder, tmp_path):
    settings = replace(SETTINGS, mask_dropout=0.1, epochs=2)
    whole, parted = fresh(), fresh()
    run(tmp_path / "whole", tracked_folder, settings, whole)

    calls = 0

    def interrupt(stage, done, total):
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(os.getpid(), __import__("signal").SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parted", tracked_folder, settings, parted, progress=interrupt)
    assert len(losses(tmp_path / "parted")) == 6
    again = fresh()
    run(tmp_path / "parted", tracked_folder, settings, again, resume=True)
    assert losses(tmp_path / "parted") == losses(tmp_path / "whole")
    for name, parameter in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], parameter, rtol=0, atol=0)


def test_the_last_checkpoint_is_written_within_an_epoch(tracked_folder, tmp_path):
    settings = replace(SETTINGS, epochs=1, saves_per_epoch=2)
    saved = []

    def look(stage, done, total):
        path = tmp_path / "out" / "checkpoint-last.pth"
        with torch.serialization.safe_globals([argparse.Namespace]):  # of the official layout
            saved.append(torch.load(path, weights_only=True)["step"] if path.exists() else None)

    run(tmp_path / "out", tracked_folder, settings, progress=look)
    assert saved == [None, None, 2, 2]  # called after a step and before saving


def test_accumulated_batches_equal_one_large_batch(tracked_folder, tmp_path):
    run(tmp_path / "large", tracked_folder, SETTINGS)
    run(tmp_path / "parts", tracked_folder, replace(SETTINGS, batch_size=2, accumulation=2))
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "large"), rtol=1e-3)


def test_published_freeze_trains_only_the_mask_heads(tracked_folder, tmp_path):
    network = fresh()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = replace(SETTINGS, freeze="encoder_and_3d_predictor", learn_points=True, epochs=1)
    run(tmp_path / "out", tracked_folder, settings, network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("downstream_head_dynamic_mask") for name in changed)


def run_on_two_processes(options: list[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "dynamic_predictor" / "launch.py"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tracked_folder, tmp_path):
    """With DDP and with sharding (FSDP), whose checkpoints are interchangeable with those of other runs."""
    save_pth(fresh(), tmp_path / "start.pth")
    shared_options = [
        "--mode=train",
        "--recipe=small",
        f"--pretrained={tmp_path / 'start.pth'}",
        f"--train_dataset={tracked_folder / 'train'}",
        f"--test_dataset={tracked_folder / 'test'}",
        "--epochs=1",
        "--pairs_per_epoch=16",
        "--test_pairs=4",
        "--device=cpu",
    ]
    assert launch.main([*shared_options, "--batch_size=4", f"--output_dir={tmp_path / 'one'}"]) == 0
    run_on_two_processes([*shared_options, "--batch_size=2", f"--output_dir={tmp_path / 'two'}"])
    run_on_two_processes([*shared_options, "--batch_size=2", "--sharded", f"--output_dir={tmp_path / 'shares'}"])
    tests = {}
    for name in ("one", "two", "shares"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "one"), rtol=1e-3)
        tests[name] = next(line["test_loss"] for line in read_log(tmp_path / name) if "test_loss" in line)
    assert tests["two"] == pytest.approx(tests["one"], rel=1e-2)
    assert tests["shares"] == pytest.approx(tests["two"], rel=1e-4)
    # checkpoints of sharded runs are complete: both kinds of runs can resume them
    shutil.copytree(tmp_path / "shares", tmp_path / "one on")
    shutil.copytree(tmp_path / "shares", tmp_path / "shares on")
    shared_options += ["--epochs=2", "--resume"]
    assert launch.main([*shared_options, "--batch_size=4", f"--output_dir={tmp_path / 'one on'}"]) == 0
    run_on_two_processes([*shared_options, "--batch_size=2", "--sharded", f"--output_dir={tmp_path / 'shares on'}"])
    np.testing.assert_allclose(losses(tmp_path / "shares on"), losses(tmp_path / "one on"), rtol=1e-3)
    finals = [tmp_path / f"{name} on" / "checkpoint-final.pth" for name in ("one", "shares")]
    one, shares = (load_network(path, mask_heads=True).state_dict() for path in finals)
    for key, value in one.items():
        torch.testing.assert_close(shares[key], value, rtol=1e-2, atol=1e-3)


def test_bad_input_raises_one_sentence(tracked_folder, tmp_path, capsys):
    train_options = ["--mode=train", "--recipe=small", f"--output_dir={tmp_path / 'out'}"]
    for options, sentence in [
        (["--mode=train"], "MonST3R"),
        (
            [
                "--mode=train",
                f"--train_dataset={tracked_folder / 'train'}",
                f"--output_dir={tmp_path / 'out'}",
                "--pretrained=MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth",
            ],
            "stillsplat weights get monst3r`, or put",
        ),  # fmt: skip
        ([*train_options, f"--train_dataset={tmp_path / 'nowhere'}"], "does not exist"),
        ([*train_options, "--epochs=0", f"--train_dataset={tracked_folder / 'train'}"], "at least 1"),
        ([*train_options, "--resume", f"--train_dataset={tracked_folder / 'train'}"], "checkpoint-last.pth"),
        ([*train_options, "--nonsense=1"], "nonsense"),
        ([*train_options, "--sharded", f"--train_dataset={tracked_folder / 'train'}"], "torchrun"),
    ]:
        assert launch.main(options) == 2
        message = capsys.readouterr().err
        assert sentence in message and len(message.strip().splitlines()) == 1, message
    with pytest.raises(InputError, match="pairs a step"):
        run(tmp_path / "b", tracked_folder, replace(SETTINGS, epochs=1))
        run(tmp_path / "b", tracked_folder, replace(SETTINGS, batch_size=2), resume=True)
    with pytest.raises(InputError, match="learning_rate"):
        run(tmp_path / "a", tracked_folder, replace(SETTINGS, epochs=1))
        run(tmp_path / "a", tracked_folder, replace(SETTINGS, learning_rate=1e-4), resume=True)


@pytest.mark.slow
def test_small_recipe_on_unseen_frames(shared, tmp_path):
    """The documented commands on our rendered scenes; takes minutes on two cores."""
    scenes = [str(shared / "bench" / name) for name in ("room_ball", "street_walkers")]
    clips = tmp_path / "moving_objects"
    train_it = ["dynamic_predictor/launch.py", "--mode=train", "--recipe=small", f"--train_dataset={clips / 'train'}"]
    train_it += [f"--test_dataset={clips / 'test'}", f"--output_dir={tmp_path / 'small'}"]
    for command in (["data/make_training_clips.py", *scenes, "-o", str(clips)], train_it):
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    scores = [line["mask_iou"] for line in read_log(tmp_path / "small") if "mask_iou" in line]
    assert scores[-1] >= 0.5

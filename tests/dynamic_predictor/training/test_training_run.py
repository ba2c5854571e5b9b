"""Whole little training runs: they learn, go on exactly, and come out the same on two processes."""

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
from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.settings import SMALL
from dynamic_predictor.training.step import choose_what_learns, learning_rate_at
from dynamic_predictor.training.tracked_clips import list_tracked_clips
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.training.training_run import train
from scene.errors import InputError
from tests.paths import ROOT

TINY = TwoViewConfig(
    encoder_width=32,
    encoder_depth=1,
    encoder_heads=2,
    decoder_width=32,
    decoder_depth=4,
    decoder_heads=2,
    head_stage_widths=(8, 16, 16, 32),
    head_width=16,
)
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
    return train(network or fresh(), clips, test_clips, settings, folder, process=ALONE, **options)


def test_it_learns_and_leaves_what_people_look_at(tracked_folder, tmp_path):
    settings = replace(SETTINGS, epochs=4, pairs_per_epoch=24)
    validation = run(tmp_path / "out", tracked_folder, settings)
    curve = losses(tmp_path / "out")
    assert np.mean(curve[-6:]) < 0.7 * np.mean(curve[:3])
    assert validation is not None and validation.pairs == 4
    for name in ("checkpoint-last.pth", "checkpoint-best.pth", "checkpoint-final.pth", "curves.png", "examples.png"):
        assert (tmp_path / "out" / name).is_file(), name
    # the result is a checkpoint like the official ones
    assert load_network(tmp_path / "out" / "checkpoint-final.pth", mask_heads=True).config == TINY


def test_a_run_that_was_stopped_goes_on_as_if_it_never_had(tracked_folder, tmp_path):
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


def test_accumulated_steps_are_one_large_batch(tracked_folder, tmp_path):
    run(tmp_path / "large", tracked_folder, SETTINGS)
    run(tmp_path / "parts", tracked_folder, replace(SETTINGS, batch_size=2, accumulation=2))
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "large"), rtol=1e-3)


def test_only_the_mask_heads_learn_with_the_published_freeze(tracked_folder, tmp_path):
    network = fresh()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = replace(SETTINGS, freeze="encoder_and_3d_predictor", learn_points=True, epochs=1)
    run(tmp_path / "out", tracked_folder, settings, network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("downstream_head_dynamic_mask") for name in changed)


def test_what_learns_at_the_published_size():
    with torch.device("meta"):
        network = TwoViewNetwork()
    learning = choose_what_learns(network, replace(SMALL, freeze="encoder_and_3d_predictor"))
    unused = sum(
        p.numel() for n, p in network.named_parameters() if "dynamic_mask" in n and "refinenet4.resConfUnit1" in n
    )
    # the report's figure; the unit that never runs has no gradient there either
    assert sum(parameter.numel() for parameter in learning) + unused == 40_697_218


def test_schedule_against_the_official_one(shared):
    assert learning_rate_at(0, SETTINGS) == 0
    assert learning_rate_at(SETTINGS.warmup_epochs, SETTINGS) == pytest.approx(SETTINGS.learning_rate)
    assert learning_rate_at(SETTINGS.epochs, SETTINGS) == pytest.approx(SETTINGS.least_learning_rate)
    with np.load(shared / "parity" / "das3r" / "transforms.npz") as golden:
        times, cosine = golden["t"], golden["cosine"]
    start, end = cosine[0], cosine[-1]
    flat = replace(SETTINGS, warmup_epochs=0, epochs=1, learning_rate=float(start), least_learning_rate=float(end))
    np.testing.assert_allclose([learning_rate_at(float(t), flat) for t in times], cosine, rtol=1e-6, atol=1e-12)


def run_on_two_processes(options: list[str]) -> None:
    root = ROOT
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(root / "dynamic_predictor" / "launch.py"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


def test_two_processes_have_the_loss_curve_of_one(tracked_folder, tmp_path):
    """Every process with the whole network (DDP), and each with a share of it (FSDP), whose checkpoints are like the
    others."""
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
    # checkpoints of shares are whole: either kind of run goes on from them
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


def test_bad_input_is_one_sentence(tracked_folder, tmp_path, capsys):
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
def test_the_small_recipe_finds_what_moves_on_frames_it_has_not_seen(shared, tmp_path):
    """The documented commands, on our rendered scenes: minutes on two cores."""
    root = ROOT
    scenes = [str(shared / "bench" / name) for name in ("room_ball", "street_walkers")]
    clips = tmp_path / "moving_objects"
    train_it = ["dynamic_predictor/launch.py", "--mode=train", "--recipe=small", f"--train_dataset={clips / 'train'}"]
    train_it += [f"--test_dataset={clips / 'test'}", f"--output_dir={tmp_path / 'small'}"]
    for command in (["data/make_training_clips.py", *scenes, "-o", str(clips)], train_it):
        subprocess.run([sys.executable, *command], cwd=root, check=True)
    scores = [line["mask_iou"] for line in read_log(tmp_path / "small") if "mask_iou" in line]
    assert scores[-1] >= 0.5

"""`stillsplat run` with nothing replaced, on a few small frames of the sample scene."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"


def command(out, *arguments):
    clip = ["--frames", "0:10", "--max-size", "160", "--iterations", "150", "--test-every", "5"]
    return [sys.executable, "-m", "stillsplat", "run", str(SAMPLE / "rgb"), "-o", str(out), *clip, *arguments]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_from_images_to_a_report(tmp_path, run_cli):
    out = tmp_path / "out"
    status, output, error = run_cli(*command(out)[3:])
    assert status == 0, error
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == 10 and metrics["gaussians"] > 500
    # a blurred image of the room has about 18 dB
    assert metrics["scores"]["held_out"]["psnr_static"]["value"] > 18, output
    assert 0 < metrics["peak_memory_bytes"] < 5 * 2**30
    scene = json.loads((out / "scene" / "cameras.json").read_text())
    assert len(scene["frames"]) == 10
    assert (out / "splats.ply").read_bytes().startswith(b"ply")
    rendered = cv2.imread(str(out / "renders" / "00009.png"))
    assert rendered.shape[1] == 160 and rendered.std() > 10
    status, output, error = run_cli("evaluate", out, "--truth", SAMPLE)
    assert status == 0, error
    figures = json.loads((out / "evaluation.json").read_text())["truth"]["figures"]
    assert figures["ate_share"]["value"] < 0.2
    assert 0 < figures["mask_iou"]["value"] <= 1
    # better than the input frames themselves
    assert figures["psnr_behind"]["value"] > 10


@pytest.mark.slow
def test_ctrl_c_and_resume_end_like_an_uninterrupted_run(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    long = ["--iterations", "400"]
    assert subprocess.run(command(whole, *long), env=environment(), capture_output=True).returncode == 0
    process = subprocess.Popen(command(broken, *long), env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (broken / "model" / "settings.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 130, error
    assert "--resume" in error.splitlines()[-1] and "Traceback" not in error
    assert (broken / "model" / "checkpoint.pt").exists() and not (broken / "splats.ply").exists()
    done = subprocess.run(command(broken, *long, "--resume"), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "optical flow" not in done.stderr and "saving the scene" not in done.stderr
    for name in ("00000.png", "00005.png"):
        ours, theirs = (cv2.imread(str(folder / "renders" / name)).astype(int) for folder in (whole, broken))
        assert np.abs(ours - theirs).max() <= 1
    assert (whole / "splats.ply").read_bytes() == (broken / "splats.ply").read_bytes()

"""Mistakes that people make: one clear sentence, exit status 2, nothing half-written. All through the command line."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.video import write_video
from tests.paths import ROOT
from tests.stillsplat.stand_ins import clip_images, write_clip


@pytest.fixture
def refused(run_cli, tmp_path, fakes):
    """Runs `stillsplat run ARGUMENTS -o OUT`; checks how it is refused; returns the sentence."""

    def check(*arguments, out=None):
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        status, output, error = run_cli("run", *arguments, "-o", out or tmp_path / "out", "--predictor", "fake")
        lines = [line for line in error.splitlines() if line.startswith("stillsplat: ")]
        assert status == 2, error
        assert len(lines) == 1 and error.splitlines()[-1] == lines[0], error
        assert "Traceback" not in error + output
        assert lines[0].endswith(".")
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before, "something was left behind"
        return lines[0]

    return check


def test_missing_path(refused, tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere.mp4")


def test_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(tmp_path / "empty")


def test_one_frame(refused, tmp_path):
    assert "only one frame" in refused(write_clip(tmp_path / "one", clip_images()[:1]))


def test_two_identical_frames(refused, tmp_path):
    assert "same image" in refused(write_clip(tmp_path / "same", clip_images()[:1] * 2))


def test_corrupt_video(refused, tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    assert "noise.mp4" in refused(path)
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "empty" in refused(tmp_path / "empty.mp4")


def test_truncated_video(refused, tmp_path):
    write_video(tmp_path / "whole.mp4", clip_images(24), 24)
    data = (tmp_path / "whole.mp4").read_bytes()
    for share in (0.1, 0.5, 0.8):
        (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * share)])
        assert "cut.mp4" in refused(tmp_path / "cut.mp4")


def test_what_is_left_of_a_truncated_video_can_be_asked_for(refused, run_cli, tmp_path):
    write_video(tmp_path / "whole.mp4", clip_images(24), 24)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.8)])
    sentence = refused(tmp_path / "cut.mp4")
    option, value = re.search(r"(--frames) (0:\d+)", sentence).groups()
    out = tmp_path / "out"
    status, _, error = run_cli("run", tmp_path / "cut.mp4", "-o", out, "--predictor", "fake", option, value)
    assert status == 0, error
    assert json.loads((out / "metrics.json").read_text())["frames"] == int(value[2:])


def test_mixed_sizes(refused, tmp_path):
    images = clip_images()
    images[5] = images[5][:-4]
    assert "64x36" in refused(write_clip(tmp_path / "mixed", images))


@pytest.mark.parametrize("option", ["--masks", "--annotations"])
def test_masks_that_do_not_fit(refused, clip, tmp_path, option):
    def masks(name, count, shape):
        folder = tmp_path / name
        folder.mkdir()
        for index in range(count):
            cv2.imwrite(str(folder / f"{'abcdefgh'[index]}.png"), np.zeros(shape, np.uint8))
        return folder

    assert "5 masks for 8 frames" in refused(clip, option, masks("few", 5, (40, 64)))
    assert "shape" in refused(clip, option, masks("tall", 8, (64, 40)))
    assert "no mask images" in refused(clip, option, masks("none", 0, (64, 40)))
    assert "does not exist" in refused(clip, option, tmp_path / "nowhere")
    assert "not a folder" in refused(clip, option, clip / "frame0.png")


def test_output_that_exists(refused, clip, tmp_path):
    (tmp_path / "there").mkdir()
    assert "exists already" in refused(clip, out=tmp_path / "there")
    (tmp_path / "file").write_text("x")
    assert "exists and is not a folder" in refused(clip, out=tmp_path / "file")
    assert "file" in refused(clip, out=tmp_path / "file" / "below")
    assert "lies in the output folder" in refused(clip, "--overwrite", out=clip.parent)


def test_unknown_names_and_numbers(run_cli, refused, clip, tmp_path):
    status, _, error = run_cli("run", clip, "-o", tmp_path / "out", "--predictor", "psychic")
    assert status == 2 and "psychic" in error and "geometric" in error and error.count("\n") == 1
    assert "START:STOP:STEP" in refused(clip, "--frames", "a:b")
    assert "no frame" in refused(clip, "--frames", "100:200")
    assert "--iterations" in refused(clip, "--iterations", "0")
    assert "--test-every" in refused(clip, "--test-every", "1")
    assert "--protocol" in refused(clip, "--test-every", "4", "--protocol", "das3r")
    assert "held-out" in refused(clip, "--refine-test-cameras")
    assert "--resume" in refused(clip, "--resume", "--overwrite")
    assert "--max-size" in refused(clip, "--max-size", "8")
    for arguments in (
        ["fly"],
        ["run"],
        ["run", "x", "-o", "y", "--warp"],
        ["run", "x", "-o", "y", "--iterations", "many"],
    ):
        status, _, error = run_cli(*arguments)
        assert status == 2 and error.count("\n") == 1 and error.startswith("stillsplat: "), error


def test_a_scene_that_is_damaged(run_cli, clip, tmp_path, fakes):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0

    def refused():
        status, _, error = run_cli("evaluate", out, "--annotations", clip)
        assert status == 2 and error.splitlines()[-1].startswith("stillsplat: ") and "Traceback" not in error, error
        assert not (out / "evaluation.json").exists()
        return error

    depth = out / "scene" / "depth" / "00003.npz"
    data = depth.read_bytes()
    depth.unlink()
    assert "00003.npz" in refused()
    depth.write_bytes(data[:100])
    assert "00003.npz" in refused()
    depth.write_bytes(data)
    (out / "scene" / "scene.json").write_text('{"frames": [')
    assert "scene.json" in refused()
    (out / "run.json").write_text("[]")
    assert "run.json" in refused()


def test_evaluate_refuses_what_is_no_run(run_cli, clip, tmp_path, fakes, truth):
    for arguments, expected in (
        (["evaluate", tmp_path / "nowhere", "--truth", truth], "does not exist"),
        (["evaluate", clip, "--truth", truth], "not the output folder"),
        (["evaluate", clip], "--truth"),
        (["report", clip], "not the output folder"),
    ):
        status, _, error = run_cli(*arguments)
        assert status == 2 and expected in error and error.count("\n") == 1, error


@pytest.mark.parametrize("stage", ["frames", "scene", "model", "render", "report"])
def test_full_disk(run_cli, clip, tmp_path, fakes, monkeypatch, stage):
    """Every write into a place of that stage fails as on a full disk."""
    out = tmp_path / "out"
    places = {"frames": "frames", "scene": ".scene-", "model": "splats", "render": ".renders-", "report": "report"}
    real_write, real_replace = Path.write_bytes, os.replace

    def write_bytes(path, data):
        if places[stage] in str(path.relative_to(tmp_path)):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real_write(path, data)

    def replace(source, target):
        if places[stage] in Path(target).name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return real_replace(source, target)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(os, "replace", replace)
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake")
    assert status == 2, error
    sentence = error.splitlines()[-1]
    assert sentence.startswith("stillsplat: ") and "disk is full" in sentence and "Traceback" not in error
    if stage in ("frames", "scene"):
        assert not out.exists()
        return
    assert "--resume" in sentence
    assert not [path for path in out.rglob(".*")], "temporary files are left"
    monkeypatch.setattr(Path, "write_bytes", real_write)
    monkeypatch.setattr(os, "replace", real_replace)
    assert run_cli("run", clip, "-o", out, "--predictor", "fake", "--resume")[0] == 0
    assert (out / "report.html").exists()


@pytest.mark.parametrize("kind", ["16 bit", "gray", "RGBA", "odd size", "jpeg"])
def test_images_of_all_kinds_just_work(run_cli, tmp_path, fakes, kind):
    images = clip_images(4)
    folder = tmp_path / "clip"
    folder.mkdir()
    for index, image in enumerate(images):
        if kind == "16 bit":
            image = image.astype(np.uint16) * 257
        elif kind == "gray":
            image = image[..., 0]
        elif kind == "RGBA":
            image = np.dstack([image, np.full(image.shape[:2], 200, np.uint8)])
        elif kind == "odd size":
            image = np.ascontiguousarray(image[:39, :61])
        cv2.imwrite(str(folder / f"{index}.{'jpg' if kind == 'jpeg' else 'png'}"), image)
    out = tmp_path / "out"
    status, _, error = run_cli("run", folder, "-o", out, "--predictor", "fake")
    assert status == 0, error
    height, width = (39, 61) if kind == "odd size" else (40, 64)
    assert cv2.imread(str(out / "renders" / "00000.png")).shape == (height, width, 3)
    if kind == "16 bit":
        assert (
            abs(int(cv2.imread(str(out / "scene" / "images" / "00000.png"))[30, 30, 0]) - int(images[0][30, 30, 0]))
            <= 1
        )


def test_a_portrait_and_a_shrunk_video(run_cli, tmp_path, fakes):
    write_video(tmp_path / "clip.mp4", clip_images(6, width=48, height=90), 24)
    out = tmp_path / "out"
    status, _, error = run_cli("run", tmp_path / "clip.mp4", "-o", out, "--predictor", "fake", "--max-size", 64)
    assert status == 0, error
    assert json.loads((out / "metrics.json").read_text())["size"] == [34, 64]
    assert cv2.imread(str(out / "renders" / "00005.png")).shape == (64, 34, 3)


def test_errors_of_our_own_keep_their_traceback(run_cli, clip, tmp_path, fakes):
    fakes.error = ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError):
        run_cli("run", clip, "-o", tmp_path / "out", "--predictor", "fake")


def test_help_answers_at_once_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom stillsplat.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'torch', 'cv2', 'numpy', 'rich'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--test-every" in done.stdout and "examples:" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "stillsplat", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("stillsplat ")

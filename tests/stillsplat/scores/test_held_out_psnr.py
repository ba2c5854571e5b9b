"""Scores of held-out frames of a results folder, and the scripts that use them."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.folder import save_scene
from scene.frames import ImageFolderFrames
from scene.images import read_image, resize_image, write_png
from scene.maps import LoadedMaps
from scene.scene import Scene
from scene.truth import TruthScene
from stillsplat.scores.held_out_psnr import main, psnr_tables
from tests.paths import ROOT

WIDTH, HEIGHT, COUNT = 120, 68, 8


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/davis/dog with the true scene of the sample at a quarter of its size, and data/davis with masks at full
    size, without the last one."""
    root = tmp_path_factory.mktemp("psnr")
    truth = TruthScene(ROOT / "data" / "sample")
    images = [ROOT / "data" / "sample" / "rgb" / f"{index:05d}.jpg" for index in range(COUNT)]
    (root / "frames").mkdir()
    shrunk = [root / "frames" / f"{index:05d}.png" for index in range(COUNT)]
    for source, target in zip(images, shrunk, strict=True):
        write_png(target, resize_image(read_image(source), WIDTH, HEIGHT))
    frames = ImageFolderFrames(shrunk)

    def small(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT)

    masks = [truth.mask(index) for index in range(COUNT)]
    depths = [truth.depth(index) for index in range(COUNT)]
    scene = Scene(
        frames,
        [camera.resized(WIDTH, HEIGHT) for camera in truth.cameras[:COUNT]],
        motion_masks=LoadedMaps(COUNT, lambda index: small(masks[index])),  # type: ignore[arg-type]
        z_depths=LoadedMaps(COUNT, lambda index: small(depths[index])),  # type: ignore[arg-type]
        predictor="truth",
    )
    save_scene(scene, root / "results" / "davis" / "dog")
    for index in range(COUNT):
        target = root / "data/davis/DAVIS/JPEGImages/480p/dog" / f"{index:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[index], target)
        if index < COUNT - 1:
            target = root / "data/davis/DAVIS/Annotations/480p/dog" / f"{index:05d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_png(target, np.where(masks[index], 255, 0).astype(np.uint8))  # type: ignore[arg-type]
    return root


def run(root: Path, *arguments: str) -> int:
    fixed = ["--eval_dataset=davis", f"--results={root / 'results/davis'}", f"--data_folder={root / 'data'}"]
    return main([*fixed, "--iterations=60", *arguments])


def test_scores_tables_and_resuming(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders) == 0
    printed = capsys.readouterr().out
    assert "dog" in printed and "DAS3R" in printed and "28.63" in printed
    models = folders / "results" / "davis_testing_psnr_60"
    description = json.loads((models / "dog" / "settings.json").read_text())
    assert description["test_frames"] == [5] and description["test_metrics"]["masks"] == "annotations"
    assert 15 < description["test_metrics"]["psnr_static"] < description["test_metrics"]["psnr_das3r"]
    tables = json.loads((models / "psnr.json").read_text())
    assert tables[1]["rows"]["ours"]["dog"] == pytest.approx(description["test_metrics"]["psnr_das3r"])
    # the second call optimizes nothing: it works without the checkpoint
    written = (models / "dog" / "settings.json").stat().st_mtime_ns
    (models / "dog" / "checkpoint.pt").unlink()
    assert run(folders, "--name=again") == 0
    assert (models / "dog" / "settings.json").stat().st_mtime_ns == written and "again" in capsys.readouterr().out
    assert run(folders, "--seed=5", f"--models={models}") == 2
    assert "was optimized with other settings" in capsys.readouterr().err


def test_bad_input(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders, "--clips", "cat", f"--models={tmp_path}") == 2
    assert "cat does not exist" in capsys.readouterr().err
    assert run(tmp_path) == 2
    assert "python dynamic_predictor/launch.py --mode=eval_pose --eval_dataset=davis" in capsys.readouterr().err
    assert main(["--eval_dataset=davis"]) == 2
    assert "required: --results; see held_out_psnr --help" in capsys.readouterr().err
    shutil.copytree(folders / "data", tmp_path / "data")
    (tmp_path / "data/davis/DAVIS/Annotations/480p/dog/00005.png").unlink()
    assert run(folders, f"--data_folder={tmp_path / 'data'}", f"--models={tmp_path / 'models'}") == 2
    assert "dog has no annotation of frame 5" in capsys.readouterr().err


def test_averages_use_the_same_clips() -> None:
    """Averages of published methods equal the published ones, and use only the clips that were scored."""
    everything = dict.fromkeys(
        "blackswan camel car-shadow dog horsejump-high motocross-jump parkour soapbox".split(), {"psnr_das3r": 20.0}
    )
    rows = psnr_tables("davis", everything, "ours")[1].rows
    assert rows["DAS3R"]["average"] == pytest.approx(25.70, abs=0.005)
    assert rows["SLS-mlp"]["average"] == pytest.approx(21.94, abs=0.005) and rows["ours"]["average"] == 20.0
    rows = psnr_tables("davis", {"dog": {"psnr_das3r": 30.0}, "parkour": {"psnr_das3r": 31.0}}, "ours")[1].rows
    assert rows["DAS3R"]["average"] == pytest.approx((28.63 + 28.09) / 2)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the scripts whose python only records its arguments and creates the expected files."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(
        '#!/usr/bin/env bash\necho "$*" >>calls\n'
        'model=$(sed -n "s/.*-m \\([^ ]*\\).*/\\1/p" <<<"$*")\n'
        '[[ $* == *bad* ]] && exit 2\n'
        '[[ $1 == train_gui.py ]] && mkdir -p "$model/point_cloud/iteration_4000" "$model/renders" &&'
        ' touch "$model/point_cloud/iteration_4000/point_cloud.ply"\n'
        '[[ $1 == render.py ]] && touch "$model/renders/interpolated.mp4"\nexit 0\n'
    )  # fmt: skip
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text("exit 0\n")
    return tmp_path


def call(root: Path, script: str, *arguments: str, **environment: str) -> tuple[int, str, list[str]]:
    command, variables = ["bash", f"scripts/{script}", *arguments], {**os.environ, **environment}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=variables)
    calls = (root / "calls").read_text().splitlines() if (root / "calls").exists() else []
    return done.returncode, done.stderr, calls


def test_rendering_script(scripts: Path) -> None:
    status, error, calls = call(scripts, "rendering_davis.sh")
    assert status == 2 and "launch.py --mode=eval_pose --eval_dataset=davis" in error and not calls
    for clip, file in (
        ("dog", "scene.json"),
        ("old", "pred_traj.txt"),
        ("bad", "scene.json"),
        ("evaluation", "dog.json"),
    ):
        (scripts / "results/davis" / clip).mkdir(parents=True)
        (scripts / "results/davis" / clip / file).touch()
    status, error, calls = call(scripts, "rendering_davis.sh")
    assert status == 1 and "Failed: bad" in error
    assert calls == [
        "train_gui.py -s results/davis/bad -m results/davis_rendering_4000/bad --iter 4000 --resume",
        "train_gui.py -s results/davis/dog -m results/davis_rendering_4000/dog --iter 4000 --resume",
        "render.py -m results/davis_rendering_4000/dog --get_video",
        "train_gui.py -s results/davis/old -m results/davis_rendering_4000/old --iter 4000 --resume",
        "render.py -m results/davis_rendering_4000/old --get_video",
    ]
    (scripts / "calls").unlink()
    status, _, calls = call(scripts, "rendering_davis.sh", "dog", "old")
    assert status == 0 and not calls  # all renders exist
    (scripts / "results/davis_rendering_4000/old/renders/interpolated.mp4").unlink()
    assert call(scripts, "rendering_davis.sh", "old")[2] == [
        "render.py -m results/davis_rendering_4000/old --get_video"
    ]


def test_psnr_script(scripts: Path) -> None:
    assert call(scripts, "testing_psnr_sintel.sh")[0] == 0
    status, _, calls = call(scripts, "testing_psnr_davis.sh", "dog", "parkour", ITERATIONS="50", RESULTS="elsewhere")
    assert status == 0 and calls == [
        "-m stillsplat.scores.held_out_psnr --eval_dataset sintel --results results/sintel --iterations 4000",
        "-m stillsplat.scores.held_out_psnr --eval_dataset davis --results elsewhere --iterations 50 "
        "--clips dog parkour",
    ]

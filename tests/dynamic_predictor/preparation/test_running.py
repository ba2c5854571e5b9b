"""Preparation of many scenes: in parallel, resumed, with damaged ones, from the command line."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.preparation.running import prepare_set
from dynamic_predictor.preparation.table import PREPARATIONS
from dynamic_predictor.training.datasets.training_set import open_training_set
from scene.errors import InputError
from tests.dynamic_predictor.preparation.raw_folders import WRITERS
from tests.paths import ROOT


@pytest.fixture()
def raw(tmp_path: Path) -> Path:
    """PointOdyssey with three clips."""
    WRITERS["point_odyssey"](tmp_path / "raw")
    for name in ("dancing", "girl"):
        shutil.copytree(tmp_path / "raw" / "train" / "kg", tmp_path / "raw" / "train" / name)
    return tmp_path / "raw"


def _prepare(raw: Path, out: Path, **options):
    return prepare_set("point_odyssey", PREPARATIONS["point_odyssey"], raw, out, **options)


def _times(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_a_damaged_scene_fails_alone(raw: Path, tmp_path: Path) -> None:
    (raw / "train" / "girl" / "depths" / "depth_00003.png").write_bytes(b"no image")
    calls = []
    result = _prepare(raw, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert result.done == ["train/dancing", "train/kg"] and list(result.failed) == ["train/girl"]
    assert "depth_00003.png is not an image of a known kind" in result.failed["train/girl"]
    assert not (tmp_path / "out" / "train" / "girl").exists()
    assert calls == [("prepare point_odyssey (scenes)", done, 3) for done in range(4)]
    assert len(open_training_set("point_odyssey", tmp_path / "out", max_views=5)) == 2
    # repeated after the download was repaired: only what was missing is done
    before = _times(tmp_path / "out" / "train" / "kg")
    shutil.copy(raw / "train" / "kg" / "depths" / "depth_00003.png", raw / "train" / "girl" / "depths")
    result = _prepare(raw, tmp_path / "out")
    assert result.done == ["train/girl"] and result.earlier == ["train/dancing", "train/kg"]
    assert _times(tmp_path / "out" / "train" / "kg") == before


def test_chosen_scenes_and_processes(raw: Path, tmp_path: Path) -> None:
    _prepare(raw, tmp_path / "one")
    result = _prepare(raw, tmp_path / "two", jobs=2, scenes=["train/girl", "train/kg"])
    assert sorted(result.done) == ["train/girl", "train/kg"]
    assert not (tmp_path / "two" / "train" / "dancing").exists()
    for path in (tmp_path / "two" / "train").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "one" / path.relative_to(tmp_path / "two")).read_bytes()
    with pytest.raises(InputError, match="has no scene train/cat; it has train/dancing, train/girl, train/kg and 3 in"):
        _prepare(raw, tmp_path / "two", scenes=["train/cat"])


@pytest.mark.skipif(sys.platform == "win32", reason="NOT CHECKED: SIGKILL is a signal of POSIX")
def test_killed_and_resumed(raw: Path, tmp_path: Path) -> None:
    """After a kill in the middle of a scene, complete scenes stay, and nothing of the other one is taken for one."""
    for source in (raw / "train" / "kg" / "rgbs", raw / "train" / "kg" / "depths"):
        stem, suffix = ("rgb", ".jpg") if source.name == "rgbs" else ("depth", ".png")
        for number in range(5, 150):
            shutil.copy(source / f"{stem}_00000{suffix}", source / f"{stem}_{number:05d}{suffix}")
    arrays = np.load(raw / "train" / "kg" / "anno.npz")
    long = {name: np.resize(arrays[name], (150, *arrays[name].shape[1:])) for name in ("intrinsics", "extrinsics")}
    np.savez(raw / "train" / "kg" / "anno.npz", **long)
    command = [sys.executable, "data/prepare.py", "point_odyssey", str(raw), str(tmp_path / "out"), "--jobs", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end and not list((tmp_path / "out" / "train").glob(".kg-*")):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    out = tmp_path / "out"
    assert list((out / "train").glob(".kg-*")) and not (out / "train" / "kg").exists()
    before = _times(out / "train" / "dancing")
    result = _prepare(raw, out)
    assert result.done == ["train/kg"] and result.earlier == ["train/dancing", "train/girl"]
    assert not list((out / "train").glob(".*")) and _times(out / "train" / "dancing") == before
    assert len(list((out / "train" / "kg" / "rgb").iterdir())) == 150


def test_what_cannot_be_prepared(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; name the folder with the raw download"):
        _prepare(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="prepared into itself"):
        _prepare(raw, raw)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds nothing to prepare; expected is train/CLIP/rgbs, depths, anno.npz"):
        _prepare(tmp_path / "empty", tmp_path / "out")
    np.savez(raw / "train" / "kg" / "anno.npz", intrinsics=np.zeros((5, 3, 3)), extrinsics=np.stack([np.eye(4)] * 5))
    np.savez(raw / "train" / "girl" / "anno.npz", intrinsics=np.zeros((5, 3, 3)), extrinsics=np.zeros((5, 4, 4)))
    failed = _prepare(raw, tmp_path / "out").failed
    assert "Singular matrix" in failed["train/girl"] and not any("\n" in error for error in failed.values())


def test_command(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        script = ROOT / "data" / "prepare.py"
        monkeypatch.setattr("sys.argv", [str(script), *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        return int(end.value.code or 0)

    out = str(tmp_path / "out")
    (raw / "train" / "girl" / "anno.npz").write_bytes(b"")
    assert run("point_odyssey", str(raw), out, "--jobs", "1") == 1
    shown = capsys.readouterr().err
    assert "train/girl failed:" in shown and "2 scenes prepared, 0 before, 1 failed" in shown
    assert run("point_odyssey", str(raw), out, "--scenes", "train/kg") == 0
    assert "0 scenes prepared, 1 before, 0 failed" in capsys.readouterr().err
    assert run("point_odyssey", str(tmp_path / "nowhere"), out) == 2
    assert "does not exist" in capsys.readouterr().err
    assert run("--help") == 0
    assert "CATEGORY/scenes/scene_000/rgb" in capsys.readouterr().out

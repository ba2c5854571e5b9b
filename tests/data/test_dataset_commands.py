"""The commands that download and prepare data sets."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from data import dataset_commands
from data.dataset_commands import make_sintel_labels
from dynamic_predictor.evaluation.datasets.fetching import (
    Archive,
    ArchivePart,
)
from tests.dynamic_predictor.evaluation.datasets.test_fetching import dataset_of, zipped
from tests.dynamic_predictor.evaluation.datasets.test_motion_labels import SQUARE, write_sintel
from tests.paths import ROOT


def test_without_network_the_message_names_the_missing_file(
    range_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = ArchivePart("http://127.0.0.1:9/DAVIS-2017-trainval-480p.zip")
    monkeypatch.setattr(dataset_commands, "DAVIS", dataset_of(Archive("pictures", (part,))))
    assert dataset_commands.download_davis(tmp_path / "davis", ["--yes"]) == 2
    error = capsys.readouterr().err
    assert "without a network" in error and str(tmp_path / "davis" / part.name) in error and error.count("\n") == 1
    # put there by hand, it is taken
    (tmp_path / "davis" / part.name).write_bytes(zipped({"DAVIS/JPEGImages/480p/dog/00000.jpg": b"x"}))
    assert dataset_commands.download_davis(tmp_path / "davis", ["--yes"]) == 0
    assert (tmp_path / "davis" / "DAVIS" / "JPEGImages" / "480p" / "dog" / "00000.jpg").is_file()


@pytest.mark.parametrize("script", ["download_davis", "download_sintel", "download_pointodyssey"])
def test_scripts_run_from_anywhere(script: str, tmp_path: Path) -> None:
    path = ROOT / "data" / f"{script}.py"
    result = subprocess.run(
        [sys.executable, str(path), "--to", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, stdin=-3
    )
    assert result.returncode == 2 and "license" in result.stdout and "--yes" in result.stderr


def test_label_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = tmp_path / "training"
    write_sintel(training)
    assert make_sintel_labels(training, ["--threshold", "0.5", "--save_dir", "half"]) == 0
    assert not cv2.imread(str(training / "half" / "alley_2" / "frame_0001.png")).any()
    assert make_sintel_labels(training, ["--continuous", "--save_dir", "error"]) == 0
    error = cv2.imread(str(training / "error" / "alley_2" / "frame_0001.png"), cv2.IMREAD_UNCHANGED)
    assert error[SQUARE].min() > 240 and error[:6].max() <= 1
    assert make_sintel_labels(training, ["--threshold", "-1"]) == 2
    assert make_sintel_labels(tmp_path / "nowhere", []) == 2
    (training / "flow" / "alley_2" / "frame_0002.flo").write_bytes(b"no flow")
    assert make_sintel_labels(training, ["--save_dir", "broken"]) == 2
    assert "frame_0002.flo" in capsys.readouterr().err
    assert not (training / "broken" / "alley_2").exists()

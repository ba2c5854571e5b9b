"""What needs no network starts without PyTorch, whose import takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
from stillsplat.cli import main
try:
    main()
finally:
    print("PyTorch was imported:", "torch" in sys.modules)
"""


def _output(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", _RUN, *arguments], capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_weight_free_prediction(clip, tmp_path):
    text = _output("predict", str(clip), "-o", str(tmp_path / "out"), "--device", "cpu")
    assert (tmp_path / "out" / "scene.json").exists(), text
    assert "PyTorch was imported: False" in text


@pytest.mark.parametrize("name", ["predict", "run"])
def test_a_missing_input(name: str, tmp_path):
    text = _output(name, str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "out"))
    assert "clip.mp4" in text
    assert "PyTorch was imported: False" in text


@pytest.mark.parametrize("device_file, may_have_gpu", [("here", True), ("nowhere", False)])
def test_device_files_say_whether_there_may_be_a_gpu(device_file: str, may_have_gpu: bool, tmp_path: Path, monkeypatch):
    from dynamic_predictor.networks import devices

    (tmp_path / "here").touch()
    monkeypatch.setattr(devices, "_DEVICE_FILES", (str(tmp_path / device_file),))
    monkeypatch.setattr(devices.sys, "platform", "linux")
    assert devices._may_have_gpu() is may_have_gpu
    monkeypatch.setattr(devices.sys, "platform", "win32")
    assert devices._may_have_gpu()

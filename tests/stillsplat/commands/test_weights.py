"""`stillsplat weights`: its list, paths and license question."""

from pathlib import Path

import pytest

from dynamic_predictor.weights.registry import all_weights
from stillsplat.cli import main
from tests.dynamic_predictor.weights.official_layouts import save_raft


def test_list_and_path(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_raft(weights_folder / "raft-sintel.pth")
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    for name in all_weights():
        assert f"{name}  (" in listed
    assert f"here: {path}" in listed
    assert main(["weights", "path", "raft-sintel"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert main(["weights", "path", "das3r"]) == 2
    error = capsys.readouterr().err
    assert "stillsplat weights get das3r" in error and str(weights_folder / "das3r" / "model.safetensors") in error
    assert main(["weights", "path", "nonsense"]) == 2


def test_license_is_shown_and_must_be_accepted(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "get", "das3r"]) == 2
    captured = capsys.readouterr()
    assert "CC BY-NC-SA 4.0" in captured.out and "--yes" in captured.err

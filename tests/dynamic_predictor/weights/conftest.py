"""A machine without weights."""

from pathlib import Path

import pytest


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where weights are found in this test."""
    folder = tmp_path / "all_weights"
    folder.mkdir()
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return folder

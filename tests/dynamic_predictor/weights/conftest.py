"""An empty weights folder."""

from pathlib import Path

import pytest


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the only place where weights are searched in this test."""
    folder = tmp_path / "all_weights"
    folder.mkdir()
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return folder

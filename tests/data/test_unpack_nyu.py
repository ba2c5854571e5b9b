"""Unpacking NYU Depth V2 from its HDF5 files."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from tests.dynamic_predictor.evaluation.datasets.dataset_files import HEIGHT, WIDTH
from tests.paths import ROOT


def test_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    h5py = pytest.importorskip("h5py", reason="NOT CHECKED: data/unpack_nyu.py needs h5py, which is not installed")
    folder = tmp_path / "nyu-v2" / "val"
    (folder / "official").mkdir(parents=True)
    with h5py.File(folder / "official" / "a.h5", "w") as file:
        file["rgb"], file["depth"] = (
            np.full((3, HEIGHT, WIDTH), 7, np.uint8),
            np.full((HEIGHT, WIDTH), 1.75, np.float32),
        )
    script = ROOT / "data" / "unpack_nyu.py"
    monkeypatch.setattr("sys.argv", [str(script), "--folder", str(folder)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    clip = open_dataset("nyu", tmp_path).clip("val")
    assert clip.z_depths is not None and clip.z_depths[0].mean() == 1.75
    (folder / "official" / "b.h5").write_bytes(b"no HDF5")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(script), run_name="__main__")
    assert "b.h5 is damaged or of another kind" in capsys.readouterr().err

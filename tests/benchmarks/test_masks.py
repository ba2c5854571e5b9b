"""benchmarks/masks.py on small made-up clips."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.images import read_image
from tests.paths import ROOT


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("masks_benchmark", ROOT / "benchmarks" / "masks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clip in which a textured square moves over a texture, and one without annotations in which nothing moves."""
    rng = np.random.default_rng(0)
    texture, patch = (cv2.GaussianBlur(rng.uniform(0, 255, (size, size, 3)), (0, 0), 1.5) for size in (160, 36))
    for name in ("bear", "still"):
        (tmp_path / name / "images").mkdir(parents=True)
        for frame in range(4):
            image = texture[:96].copy()
            mask = np.zeros(image.shape[:2], np.uint8)
            if name == "bear":
                (tmp_path / name / "annotations").mkdir(exist_ok=True)
                image[30:66, 20 + 6 * frame : 56 + 6 * frame] = patch
                mask[30:66, 20 + 6 * frame : 56 + 6 * frame] = 255
                cv2.imwrite(str(tmp_path / name / "annotations" / f"{frame:05d}.png"), mask)
            cv2.imwrite(str(tmp_path / name / "images" / f"{frame:05d}.png"), image)
    return tmp_path


def test_table_figures_and_sheet(benchmark, data, tmp_path, capsys):
    figures, picture = tmp_path / "figures.json", tmp_path / "sheet.jpg"
    assert benchmark.main([str(data), "--json", str(figures), "--sheet", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("bear") and "0.920" in lines[1]  # ARP's published figure
    found = json.loads(figures.read_text())
    assert found["bear"]["j_mean"] > 0.5
    assert found["still"]["share"] == 0.0 and found["still"]["false_regions_per_frame"] == 0.0
    assert "j_mean" not in found["still"]
    assert read_image(picture).shape[1] == 2 * 3 * 200
    # a second run reads the figures and predicts nothing
    assert benchmark.main([str(data), "--json", str(figures), "--half", "odd"]) == 0
    assert "still" not in capsys.readouterr().out


def test_a_folder_without_clips_is_one_sentence(benchmark, tmp_path, capsys):
    assert benchmark.main([str(tmp_path)]) == 2
    assert "no clip" in capsys.readouterr().err


def test_false_regions_are_counted_above_a_size(benchmark):
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:20] = mask[50:60, 50:60] = True
    mask[80, 80] = True
    assert benchmark.false_regions(mask) == 2

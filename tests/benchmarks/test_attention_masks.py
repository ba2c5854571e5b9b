"""benchmarks/attention_masks.py on a made-up data set."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import registered
from tests.paths import ROOT


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("attention_masks", ROOT / "benchmarks" / "attention_masks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips of three frames, in which red things are annotated."""
    for name, side in (("dog", 8), ("camel", 16)):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / "davis" / "DAVIS" / kind / "480p" / name).mkdir(parents=True)
        for frame in range(3):
            image = np.full((32, 48, 3), 90, np.uint8)
            mask = np.zeros((32, 48), np.uint8)
            image[4 : 4 + side, 4 * frame : 4 * frame + side] = (0, 0, 255)
            mask[4 : 4 + side, 4 * frame : 4 * frame + side] = 255
            folder = tmp_path / "davis" / "DAVIS"
            cv2.imwrite(str(folder / "JPEGImages" / "480p" / name / f"{frame:05d}.jpg"), image)
            cv2.imwrite(str(folder / "Annotations" / "480p" / name / f"{frame:05d}.png"), mask)
    return tmp_path


@dataclass(frozen=True)
class Settings:
    """Nothing can be chosen."""


class OnlyTheUpperHalf:
    """Finds the upper half of the red things of "camel", and all of "dog"."""

    def attention_motion(self, views, *, progress=None):
        masks = np.stack([(views.frames[index][..., 0] > 0.7).astype(np.float32) for index in range(len(views))])
        if masks.sum() > 3 * 100:
            masks[:, 12:] = 0
        return masks


def test_scores_of_clips_and_their_means(benchmark, data, capsys, tmp_path):
    row = PredictorSpec(
        "upper", "", "", "", lambda: Settings, lambda *arguments: OnlyTheUpperHalf(), attention_motion="Easi3R"
    )  # fmt: skip
    with registered(row):
        words = ["--predictor", "upper", "--data-folder", str(data), "--clips", "dog", "camel"]
        assert benchmark.main([*words, "--json", str(tmp_path / "out.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Easi3R" in lines[0]
    clips = json.loads((tmp_path / "out.json").read_text())["clips"]
    assert clips["dog"]["j_mean"] > 0.85 and lines[1].split()[0] == "dog"  # JPEG blurs the borders
    assert clips["camel"]["j_mean"] == pytest.approx(0.5, abs=0.06) and clips["camel"]["frames"] == 3
    mean = (clips["dog"]["j_mean"] + clips["camel"]["j_mean"]) / 2
    assert f"J {mean:.3f}" in lines[3]


def test_what_is_missing_is_one_sentence(benchmark, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dynamic_predictor.weights.finding.find_weights", lambda entry, explicit=None: None)
    for words, reason in (
        (["--data-folder", str(data), "--clips", "dog"], "weights of monst3r are not on this machine"),
        (["--data-folder", str(tmp_path / "nowhere")], "DAVIS is not in"),
        (["--predictor", "geometric", "--data-folder", str(data)], "attention of geometric"),
    ):
        assert benchmark.main(words) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1

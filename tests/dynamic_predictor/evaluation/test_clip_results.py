"""Result files of clips: means by hand, and scores that went through JSON."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.clip_results import restored_scores, write_clip_results
from dynamic_predictor.evaluation.scores.depth import DepthScores
from dynamic_predictor.evaluation.scores.masks import MaskScores
from dynamic_predictor.evaluation.scores.poses import PoseScores
from scene.files.json_files import plain


def test_camera_paths_and_masks(tmp_path: Path) -> None:
    poses = {"a": PoseScores(3, 0.1, 0.2, 1.0), "b": PoseScores(5, 0.3, 0.4, 3.0)}
    path = write_clip_results(tmp_path, "pose", "tum", "toy", poses, details="Every 2. image.", failures={"c": "Bad."})
    content = json.loads(path.read_text("utf-8"))
    assert content["overall"] == pytest.approx({"ate": 0.2, "rpe_translation": 0.3, "rpe_rotation_degrees": 2.0})
    assert content["protocol"].endswith("Every 2. image.") and content["failures"] == {"c": "Bad."}
    masks = {
        "a": MaskScores(1, 0.5, 0.5, 0.0, 0.4, 0.0, [0.5], [0.4]),
        "b": MaskScores(3, math.nan, 1.0, 1.0, 1.0, 1.0, [1.0] * 3, [1.0] * 3),
    }
    content = json.loads(write_clip_results(tmp_path, "mask", "davis", "toy", masks).read_text("utf-8"))
    # three of the four images are perfect, or one of the two clips
    assert content["overall"]["j_mean"] == pytest.approx(0.875)
    assert content["groups"]["over clips"]["j_mean"] == pytest.approx(0.75)
    assert content["sequences"]["b"]["iou_pooled"] is None


def test_depth_is_weighted_by_valid_pixels(tmp_path: Path) -> None:
    def scores(abs_rel: float, pixels: int) -> dict:
        return {"median": {**asdict(DepthScores(abs_rel, 0, 0, 0, 1, 1, 1, pixels)), "coverage": 1.0}}

    clips = {"a": scores(0.1, 300), "b": scores(0.5, 100)}
    path = write_clip_results(tmp_path, "depth", "sintel", "toy", clips, alone=True)
    content = json.loads(path.read_text("utf-8"))
    assert path.name == "monodepth.json" and content["overall"]["median"]["abs_rel"] == pytest.approx(0.2)
    assert "true depth below 70; aligned predictions are limited to 70" in content["protocol"]
    assert json.loads((tmp_path / "metric.json").read_text("utf-8"))["Abs Rel"] == pytest.approx(0.2)


def test_scores_are_restored_from_json() -> None:
    masks = MaskScores(2, math.nan, 0.5, 0.5, 0.5, 0.5, [0.5, 0.5], [0.5, 0.5])
    found = restored_scores("mask", plain(masks))
    assert isinstance(found, MaskScores) and math.isnan(found.iou_pooled) and found.j_per_frame == [0.5, 0.5]
    assert restored_scores("pose", plain(PoseScores(2, 1.0, 2.0, 3.0))) == PoseScores(2, 1.0, 2.0, 3.0)
    assert restored_scores("depth", {"none": {}}) == {"none": {}} and restored_scores("pose", found) is found

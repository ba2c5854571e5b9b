"""Result files: every figure has a unit and a meaning."""

import json
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.result_files import FIGURES, TaskResults, explained, write_results


def test_figures_are_explained_at_any_depth() -> None:
    found = explained({"scale": {"abs_rel": 0.1}, "none": {"rmse": 2.0}})
    assert set(found) == {"abs_rel", "rmse"} and found["rmse"]["unit"] == "units of the truth (meters)"
    assert explained([{"ate": 1.0}, {}])["ate"]["better"] == "lower"
    with pytest.raises(KeyError, match="beauty"):
        explained({"beauty": 1.0})
    assert all(unit and meaning and better in ("", "lower", "higher") for unit, meaning, better in FIGURES.values())


def test_files_of_a_task(tmp_path: Path) -> None:
    depth = {
        "abs_rel": 0.1,
        "sq_rel": 0.2,
        "rmse": 0.3,
        "log_rmse": 0.4,
        "delta_1": 0.9,
        "delta_2": 1.0,
        "delta_3": 1.0,
    }
    results = TaskResults(
        "video_depth", "bonn", "toy", "One sentence.", {"a/b": {"scale": depth}}, {"scale": depth},
        failures={"c": "It is damaged."}, left_out={"d": "It is too short."},
    )  # fmt: skip
    path = write_results(tmp_path, results)
    content = json.loads(path.read_text("utf-8"))
    assert path == tmp_path / "video_depth.json" and content["overall"]["scale"] == depth
    assert content["failures"] == {"c": "It is damaged."} and content["left_out"] == {"d": "It is too short."}
    assert content["figures"]["delta_1"]["unit"] == "share of 1"
    assert json.loads((tmp_path / "video_depth" / "a_b.json").read_text())["scores"]["scale"] == depth
    official = json.loads((tmp_path / "result_scale.json").read_text("utf-8"))
    assert official["Abs Rel"] == 0.1 and official["δ < 1.25"] == 0.9
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"video_depth.json", "video_depth", "result_scale.json"}

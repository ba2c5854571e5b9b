"""Files of a run that anything may have changed are refused in one sentence, by every command that reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scene.errors import InputError
from scene.images import write_png
from stillsplat.run_folder import open_run
from stillsplat.run_records import read_evaluation, read_metrics


def _changed(value: Any, place: str, new: Any) -> Any:
    """A copy of a JSON value with `new` at the place "a.b.0.c"; "DELETE" removes it."""
    copy = json.loads(json.dumps(value))
    *way, last = [int(word) if word.isdecimal() else word for word in place.split(".")]
    at = copy
    for step in way:
        at = at[step]
    if new == "DELETE":
        del at[last]
    else:
        at[last] = new
    return copy


RUN = [
    ("settings.iterations", "20", "--iterations must be a whole number, not '20'"),
    ("settings.max_size", "64", "--max-size must be a whole number, not '64'"),
    ("settings.input", 5, "INPUT must be text, not 5"),
    ("settings.fov", 1e20, "--fov must be at most 1e+12"),
    ("settings.export_options", "x", "export_options are damaged"),
    ("settings.predictor_options", "x", "predictor_options are damaged"),
    ("stages", [], "stages is not an object"),
    ("stages.scene", "done", "stages.scene is not an object"),
    ("stages.scene.seconds", "b", "stages.scene.seconds is not a number"),
    ("stages.optimize", {"seconds": 1}, "has no stages.optimize.gaussians"),
    ("stages.optimize.test_frames", [99], "names frame 99, but there are 8 frames"),
    ("stages.optimize.history", [{"loss": "x"}], "stages.optimize.history[0].loss is not a number or null"),
    ("warnings", 5, "warnings is not a list"),
    ("warnings", [5], "warnings[0] is not text"),
    ("schema_version", 99, "from another version"),
]
METRICS = [
    ("frames", 10**9, "of 1000000000 frames, but the scene has 8"),
    ("frames", "DELETE", "has no frames"),
    ("scores", "x", "scores is not an object"),
    ("scores.training", {"psnr": "x"}, "scores.training.psnr is not an object"),
    ("scores.training.psnr.value", "high", "scores.training.psnr.value is not a number or null"),
    ("per_frame", [], "has scores of 0 of 8 frames"),
    ("per_frame.0.file", 7, "per_frame[0].file is not text"),
    ("split.training", [8], "names frame 8, but there are 8 frames"),
    ("size", [64], "size is not a width and a height"),
]


@pytest.fixture
def run(clip, tmp_path, fakes, run_cli) -> Path:
    status, _, error = run_cli("run", clip, "-o", tmp_path / "out", "--predictor", "fake", "--iterations", "20")
    assert status == 0, error
    return tmp_path / "out"


def test_damaged_records(run: Path, run_cli, truth) -> None:
    record = json.loads((run / "run.json").read_text())
    for place, new, sentence in RUN:
        (run / "run.json").write_text(json.dumps(_changed(record, place, new)))
        with pytest.raises(InputError) as caught:
            open_run(run).check_frames(8)
        assert sentence in str(caught.value), (place, str(caught.value))
    for command in (("report", run), ("evaluate", run, "--truth", "truth")):
        status, _, error = run_cli(*command)
        assert status == 2 and "another version" in error and error.count("\n") == 1, (command, error)
    (run / "run.json").write_text(json.dumps(record))
    metrics = json.loads((run / "metrics.json").read_text())
    for place, new, sentence in METRICS:
        (run / "metrics.json").write_text(json.dumps(_changed(metrics, place, new)))
        with pytest.raises(InputError) as caught:
            read_metrics(run / "metrics.json", 8)
        assert sentence in str(caught.value), (place, str(caught.value))
    for command in (("report", run), ("evaluate", run, "--truth", "truth"), ("compare", run, run.parent)):
        status, _, error = run_cli(*command)
        assert status == 2 and error.count("\n") == 1, error
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "evaluation.json").write_text(json.dumps({"truth": "x"}))
    with pytest.raises(InputError, match="truth is not an object"):
        read_evaluation(run / "evaluation.json")
    status, _, error = run_cli("report", run)
    assert status == 2 and "evaluation.json: truth is not an object" in error
    (run / "evaluation.json").unlink()
    open_run(run)


def test_renders_of_another_size_and_files_without_an_end(run: Path, run_cli) -> None:
    for path in (run / "renders").iterdir():
        write_png(path, np.zeros((20, 32, 3), np.uint8))
    (run / "compare.mp4").unlink()
    (run / "compare.mp4").symlink_to("/dev/zero")
    status, _, error = run_cli("report", run)
    assert status == 2 and "but the frames of the run are 64x40" in error and error.count("\n") == 1

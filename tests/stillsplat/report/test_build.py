"""The report of a run with stand-ins for the slow parts."""

import json
import os


def test_markup_in_names_and_warnings_is_escaped(clip, tmp_path, fakes, run_cli):
    hostile = clip.with_name("<evil onload=alert(1)>")
    clip.rename(hostile)
    out = tmp_path / "out"
    status, _, error = run_cli("run", hostile, "-o", out, "--predictor", "fake", "--test-every", 3)
    assert status == 0, error
    record = json.loads((out / "run.json").read_text())
    record["warnings"] = ["<evil>"]
    (out / "run.json").write_text(json.dumps(record))
    os.remove(out / "report.html")
    assert run_cli("report", out)[0] == 0
    html = (out / "report.html").read_text("utf-8")
    assert "<evil" not in html and "&lt;evil&gt;" in html and "held-out frames" in html


def test_report_of_an_unfinished_run_is_refused(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    (out / "metrics.json").unlink()
    status, _, error = run_cli("report", out)
    assert status == 2 and "has no scores yet; resume it first (--resume)" in error

"""Our held-out PSNR beside published figures, and the scripts that print it."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.davis import PUBLISHED_CLIPS as DAVIS_CLIPS
from dynamic_predictor.evaluation.datasets.sintel import PUBLISHED_CLIPS as SINTEL_CLIPS
from dynamic_predictor.evaluation.published import published_psnr
from stillsplat.batch.published_psnr import psnr_tables
from tests.paths import ROOT


def finding(psnr: float) -> dict:
    entry = {"value": psnr, "masks": "annotations"}
    return {"scores": {"held_out": {"psnr_das3r": entry}}, "gaussians": 100, "seconds": 7.0}


def test_averages_use_the_same_clips() -> None:
    """Averages of published methods equal the published ones, and use only the clips that were scored."""
    tables = psnr_tables("davis", dict.fromkeys(DAVIS_CLIPS, finding(20.0)), "ours")
    rows = tables[1].rows
    assert rows["DAS3R"]["average"] == pytest.approx(25.70, abs=0.005)
    assert rows["SLS-mlp"]["average"] == pytest.approx(21.94, abs=0.005) and rows["ours"]["average"] == 20.0
    assert tables[0].summary["mean"]["gaussians"] == 100 and "static by the annotations" in tables[0].title
    rows = psnr_tables("davis", {"dog": finding(30.0), "parkour": finding(31.0)}, "ours")[1].rows
    assert rows["DAS3R"]["average"] == pytest.approx((28.63 + 28.09) / 2)
    rows = psnr_tables("sintel", dict.fromkeys(SINTEL_CLIPS, finding(20.0)), "ours")[1].rows
    assert rows["DAS3R"]["average"] == pytest.approx(27.79, abs=0.005)
    assert rows["MonST3R+InstantSplat"]["average"] == pytest.approx(27.18, abs=0.005)


def test_what_differs_is_named_and_clips_without_scores_are_left_out() -> None:
    findings = {"dog": finding(30.0), "camel": {"scores": {"training": {}}, "gaussians": 1, "seconds": 1.0}}
    text = "\n".join(table.text() for table in psnr_tables("davis", findings, "ours", deviations=["60 iterations"]))
    assert text.count("differs from the protocol in: 60 iterations") == 2 and "camel" not in text
    assert len(psnr_tables("bonn", {"dog": finding(30.0)}, "ours")) == 1, "nothing is published for it"
    assert psnr_tables("davis", {"dog": findings["camel"]}, "ours") == []
    assert published_psnr("bonn") == {}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the scripts whose stillsplat only records its arguments."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    command = tmp_path / ".venv/bin/stillsplat"
    command.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" >calls\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text("exit 0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("script", "given", "environment", "expected"),
    [
        (
            "testing_psnr_sintel.sh", "", {},
            "batch sintel -o results/sintel_testing_psnr_4000 --protocol das3r --no-plate --iterations 4000",
        ),
        (
            "testing_psnr_davis.sh", "dog parkour --data /my/data --jobs 2", {"ITERATIONS": "50", "OUT": "here"},
            "batch davis -o here --protocol das3r --no-plate --iterations 50 --clips dog,parkour "
            "--data /my/data --jobs 2",
        ),
        (
            "rendering_davis.sh", "dog", {},
            "batch davis -o results/davis_rendering_4000 --no-plate --iterations 4000 "
            "--frames 0:50 --max-size 512 --clips dog",
        ),
        (
            "rendering_sintel.sh", "", {"RESULTS": "results/sintel"},
            "batch sintel -o results/sintel_rendering_4000 --no-plate --iterations 4000 --scenes results/sintel",
        ),
    ],
)  # fmt: skip
def test_scripts_are_thin_callers(
    script: str, given: str, environment: dict[str, str], expected: str, scripts: Path
) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("ITERATIONS", "OUT", "RESULTS")}
    command = ["bash", str(scripts / "scripts" / script), *given.split()]
    assert subprocess.run(command, env={**variables, **environment}).returncode == 0
    assert (scripts / "calls").read_text().split("\n")[:-1] == expected.split()


def test_short_and_small_clips_are_named() -> None:
    short = {**finding(30.0), "frames": 20, "size": [256, 144]}
    text = psnr_tables("davis", {"dog": short, "parkour": finding(31.0)}, "ours")[1].text()
    assert "fewer frames (dog 20)" in text and "fewer pixels on the long side (dog 256)" in text

"""Tables and images of figures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.poses import plot_trajectory, score_poses
from dynamic_predictor.evaluation.tables import Column, Table, write_tables
from scene.images import read_image
from tests.paths import DATA

GOLDEN = DATA / "das3r_metrics_pose.npz"


@pytest.fixture
def table() -> Table:
    columns = (Column("error", "error"), Column("share_of_all", "share_%", 1, 100.0, "higher", r"share (\%)"))
    table = Table("a title", "name_of", columns)
    table.rows = {"first_one": {"error": 0.12345, "share_of_all": 0.5}, "b": {"error": math.nan, "share_of_all": 0.75}}
    table.add_mean()
    return table


def test_text_is_aligned(table: Table) -> None:
    assert table.text().splitlines() == [
        "a title",
        "name_of    error ↓  share_% ↑",
        "-----------------------------",
        "first_one    0.123       50.0",
        "b                –       75.0",
        "-----------------------------",
        "mean         0.123       62.5",
    ]


def test_latex(table: Table) -> None:
    lines = table.latex().splitlines()
    assert lines[1] == r"\begin{tabular}{lcc}"
    assert lines[3] == r"name\_of & error $\downarrow$ & share (\%) $\uparrow$ \\"
    assert r"first\_one & 0.123 & 50.0 \\" in lines and r"b & -- & 75.0 \\" in lines
    assert r"mean & 0.123 & 62.5 \\" in lines and lines[-1] == r"\end{tabular}"


def test_files(table: Table, tmp_path: Path) -> None:
    assert write_tables(tmp_path, "a", [table, table]) == (tmp_path / "a.txt").read_text("utf-8")
    assert (tmp_path / "a.tex").read_text("utf-8") == f"{table.latex()}\n{table.latex()}"
    write_tables(tmp_path, "b", [table], latex=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.tex", "a.txt", "b.json", "b.txt"]


def test_json_has_no_nan(table: Table, tmp_path: Path) -> None:
    write_tables(tmp_path, "a", [table])
    content = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert content[0]["rows"]["b"] == {"error": None, "share_of_all": 0.75}
    assert content[0]["summary"]["mean"]["share_of_all"] == 0.625


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_path_figures_equal_the_reference(case: str) -> None:
    golden = np.load(GOLDEN)
    scores = score_poses(golden[f"{case}_est"], golden[f"{case}_gt"])
    found = (scores.ate, scores.rpe_translation, scores.rpe_rotation_degrees)
    expected = [golden[f"{case}_{name}"] for name in ("ate", "rpe_trans", "rpe_rot")]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_plots(tmp_path: Path) -> None:
    golden = np.load(GOLDEN)
    plot_trajectory(tmp_path / "both.png", golden["c0_est"], golden["c0_gt"], title="both")
    plot_trajectory(tmp_path / "alone.png", golden["c0_est"], None, title="alone")
    both, alone = (read_image(tmp_path / name).astype(int) for name in ("both.png", "alone.png"))
    orange = [(np.abs(image - [217, 102, 59]).sum(axis=2) < 30).sum() for image in (both, alone)]
    assert min(orange) > 200 and sorted(path.name for path in tmp_path.iterdir()) == ["alone.png", "both.png"]

"""Tables as text, LaTeX and JSON."""

import json
import math
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.tables import Column, Table, write_tables


@pytest.fixture
def table() -> Table:
    columns = (Column("error", "error"), Column("share_of_all", "share_%", 1, 100.0, "higher", r"share (\%)"))
    table = Table("a title", "name_of", columns)
    table.rows = {"first_one": {"error": 0.12345, "share_of_all": 0.5}, "b": {"error": math.nan, "share_of_all": 0.75}}
    table.add_mean()
    return table


def test_text(table: Table) -> None:
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

"""The table of training sets and its documentation."""

import re

from dynamic_predictor.preparation.table import PREPARATIONS
from dynamic_predictor.training.datasets.table import TRAINING_SETS
from tests.paths import ROOT


def documented_rows() -> list[str]:
    """The rows of the table in docs/training_data.md, as they should be."""
    rows = []
    for name, spec in sorted(TRAINING_SETS.items()):
        columns = (
            f"`{name}`",
            f"[{spec.title}]({spec.page})",
            spec.kind,
            "yes" if spec.metric else "no",
            "yes" if spec.dynamic else "no",
            spec.license,
            f"`{spec.folder}`",
            "yes" if name in PREPARATIONS else "",
        )
        rows.append(f"| {' | '.join(columns)} |".replace("|  |", "| |"))
    return rows


def test_documentation() -> None:
    text = (ROOT / "docs" / "training_data.md").read_text("utf-8")
    assert [line for line in text.splitlines() if re.match(r"\| `", line)] == documented_rows()


def test_rows_are_complete() -> None:
    assert len({spec.folder for spec in TRAINING_SETS.values()}) == len(TRAINING_SETS) == 33
    for name, spec in TRAINING_SETS.items():
        assert spec.name == name and spec.title and spec.license and spec.page.startswith("http")
        assert "{frame}" in spec.image and abs(sum(spec.input_kinds) - 1) < 1e-9
        assert spec.single_view == (not spec.cameras.pose)
        assert spec.sequence.shortest_interval <= spec.sequence.longest_interval
        assert 0 <= spec.sequence.video <= 1 and 0.5 < spec.loss_quantile <= 1


def test_input_kinds_of_the_recipe() -> None:
    """Numbers of metric sets with each probability of being an image, as in CUT3R's readers."""
    shares = [spec.input_kinds[0] for spec in TRAINING_SETS.values() if spec.metric and not spec.single_view]
    assert {share: shares.count(share) for share in set(shares)} == {0.75: 8, 0.85: 6, 0.8: 1, 0.7: 1, 0.9: 1}

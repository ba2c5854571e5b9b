"""The table that a batch shows on a terminal, and its lines elsewhere."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from dynamic_predictor.evaluation.distribution import Outcome
from stillsplat.batch.clip_work import ClipStatus
from stillsplat.batch.clips import Clip
from stillsplat.batch.folder import BatchFolder
from stillsplat.batch.status_table import StatusTable

CLIPS = [Clip(name, name) for name in ("ant", "bee", "cat", *(f"more{index}" for index in range(40)))]
DONE = {"seconds": 75.0, "scores": {"held_out": {"psnr_static": {"value": 30.333}}}}


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_shown(terminal: bool, tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, highlight=False)
    with StatusTable(console) as table:
        table.begin(CLIPS, BatchFolder(tmp_path))
        ClipStatus(BatchFolder(tmp_path).status(CLIPS[1]))("optimizing", 3, 4)
        table.done(Outcome("ant", DONE), was_known=True)
        table.done(Outcome("cat", failure="No [video]."), was_known=False)
        plain = Console(file=io.StringIO(), width=120, record=True)
        plain.print(table.table())
    shown = plain.export_text()
    assert "1 of 43 done, 1 failed" in shown and "optimizing" in shown and "No [video]." in shown
    assert "psnr_static 30.33 dB, done before" in shown and "19 more waiting" in shown
    if not terminal:
        assert output.getvalue().splitlines() == [
            "ant: done: psnr_static 30.33 dB, done before, 1 min 15 s",
            "cat: failed: No [video].",
        ]

"""What a log gets of the progress."""

import io

import pytest

from terminal import progress_bars
from terminal.console import PlainConsole
from terminal.progress_bars import ProgressBars


def test_a_log_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now)
    text = io.StringIO()
    with ProgressBars(PlainConsole(file=text, width=200)) as bars:
        for step in range(31):
            bars("optimizing", step, 30)
            now += 1.0
        bars("name \x1b[2J [red]", 1, 1)
        bars.say("A sentence\nof \x07two [red]lines[/].")
        bars.warn("Careful.")
    lines = text.getvalue().splitlines()
    assert lines[:2] == ["optimizing: 5 of 30, 25 s left", "optimizing: 10 of 30, 20 s left"]
    assert "optimizing: 30 in 30 s" in lines and len([line for line in lines if "optimizing" in line]) == 6
    assert lines[-3:] == ["name \\x1b[2J [red]: 1 in 0.0 s", "A sentence\\nof \\x07two [red]lines[/].", "! Careful."]

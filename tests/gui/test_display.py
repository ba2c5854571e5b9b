"""Whether a window can be opened: one sentence where it cannot."""

import sys

import pytest

from gui import display
from gui.display import why_no_window


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dearpygui", None)
    monkeypatch.setitem(sys.modules, "dearpygui.dearpygui", None)
    reason = why_no_window()
    assert reason is not None and "pip install 'dearpygui" in reason


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import os; os.abort()", "import time; time.sleep(60)"])
def test_without_a_display(monkeypatch: pytest.MonkeyPatch, tmp_path, program: str) -> None:
    """However the attempt to open a window ends."""
    probe = tmp_path / "probe.py"
    probe.write_text(program)
    monkeypatch.setattr(display, "_PROBE", probe)
    monkeypatch.setattr(display, "_SECONDS", 1 if "sleep" in program else 60)
    monkeypatch.setitem(sys.modules, "dearpygui", type(sys)("dearpygui"))
    monkeypatch.setitem(sys.modules, "dearpygui.dearpygui", type(sys)("dearpygui.dearpygui"))
    reason = why_no_window()
    assert reason is not None and "stillsplat view" in reason and reason.count(". ") == 0
    monkeypatch.setattr(display, "_SECONDS", 60)
    probe.write_text("")
    assert why_no_window() is None

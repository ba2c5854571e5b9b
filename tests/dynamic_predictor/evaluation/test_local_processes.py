"""Work shared by real processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.distribution import OutcomeFiles, for_each
from dynamic_predictor.evaluation.local_processes import LocalProcesses
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.countable_work import CountableWork
from tests.paths import ROOT


def test_one_process_per_item_and_failures_stay_alone(tmp_path: Path) -> None:
    work = CountableWork(tmp_path / "notes")
    items = ["a", "refuse", "kill-always", "bcd", "break"]
    files = OutcomeFiles(tmp_path / "outcomes")
    found = for_each(items, work, LocalProcesses(2, logs=tmp_path / "logs"), files=files)
    assert list(found) == items
    assert [found[item].value["length"] for item in ("a", "bcd")] == [1, 3]
    processes = {found[item].value["process"] for item in ("a", "bcd")}
    assert len(processes) == 2 and os.getpid() not in processes
    assert found["refuse"].is_input_error and found["refuse"].failure == "refuse is not wanted."
    assert "ended by SIGKILL" in str(found["kill-always"].failure) and "ZeroDivisionError" in found["break"].traceback
    assert any("ZeroDivisionError" in path.read_text() for path in (tmp_path / "logs").iterdir())
    # what succeeded is not done again, what failed is
    again = for_each(["a", "refuse", "bcd"], work, LocalProcesses(2), files=files)
    assert again["bcd"].value == found["bcd"].value
    assert [work.times(item) for item in ("a", "refuse", "bcd")] == [1, 2, 1]


def test_a_common_reason_ends_the_work(tmp_path: Path) -> None:
    work = CountableWork(tmp_path / "notes")

    found = for_each(["a", "b", "c"], _Unwanted(work), LocalProcesses(1), files=OutcomeFiles(tmp_path / "outcomes"))
    assert {outcome.failure for outcome in found.values()} == {"No weights."}
    assert [work.times(item) for item in ("a", "b", "c")] == [1, 1, 0]
    with pytest.raises(InputError, match="--jobs must be at least 1"):
        LocalProcesses(0)


class _Unwanted:
    def __init__(self, work: CountableWork) -> None:
        self._work = work

    def __call__(self, item: str) -> None:
        self._work(item)
        raise InputError("No weights.")


_PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from dynamic_predictor.evaluation.distribution import OutcomeFiles, for_each
from dynamic_predictor.evaluation.local_processes import LocalProcesses
from tests.dynamic_predictor.evaluation.countable_work import CountableWork
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for_each(["x", "y", "z"], CountableWork(folder / "notes", 60.0), LocalProcesses(2),
             files=OutcomeFiles(folder / "outcomes"))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(sent: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM.format(root=str(ROOT)))
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path)], stderr=subprocess.DEVNULL)
    notes = [tmp_path / "notes" / name for name in ("x", "y")]
    try:
        _wait(lambda: all(path.exists() and path.read_text().endswith("\n") for path in notes))
        children = [int(path.read_text()) for path in notes]
        assert all(_lives(child) for child in children)
    finally:
        parent.send_signal(sent)
    assert parent.wait(30) != 0
    _wait(lambda: not any(_lives(child) for child in children))
    assert not (tmp_path / "notes" / "z").exists() and not list((tmp_path / "outcomes").glob("*.json"))


def _wait(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Work shared by real processes: nothing twice, all results in process 0, and a dead process is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.torchrun_processes import TorchrunProcesses
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.countable_work import CountableWork
from tests.paths import ROOT

PROGRAM = ROOT / "tests" / "dynamic_predictor" / "evaluation" / "torchrun_program.py"


def start(folder: Path, rank: int, world_size: int, items: list[str], patience: float = 12.0) -> subprocess.Popen:
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world_size), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), str(patience), *items]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def found(folder: Path) -> dict:
    return json.loads((folder / "found.json").read_text())


def test_two_processes_of_torchrun_share_the_items(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(PROGRAM)]
    items = ["a", "bb", "refuse", "dddd", "break"]
    for _ in range(2):  # files of the first run do not confuse the second
        done = subprocess.run([*command, str(tmp_path), "30", *items], cwd=ROOT, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        outcomes = found(tmp_path)
        assert list(outcomes) == items and [outcomes[item][0]["length"] for item in ("a", "bb", "dddd")] == [1, 2, 4]
        assert outcomes["refuse"] == [None, "refuse is not wanted."] and "ZeroDivision" in outcomes["break"][1]
        assert outcomes["a"][0]["process"] != outcomes["bb"][0]["process"] == outcomes["dddd"][0]["process"]
    work = CountableWork(tmp_path / "notes")
    assert [work.times(item) for item in items] == [1, 1, 2, 1, 2]
    left = sorted(path.name for path in (tmp_path / "outcomes").iterdir() if path.name.startswith("process"))
    assert left == ["process_0.json"]


def test_a_process_that_dies_is_named_and_the_next_run_continues(tmp_path: Path) -> None:
    items = ["a", "bb", "ccc", "kill"]
    processes = [start(tmp_path, rank, 2, items) for rank in range(2)]
    assert [process.wait(60) for process in processes] == [0, -9]
    outcomes = found(tmp_path)
    assert outcomes["a"][1] is None and outcomes["bb"][0]["length"] == 2 and outcomes["ccc"][1] is None
    # process 0 may start so late that it never hears of the other
    what = outcomes["kill"][1].removeprefix("Process 1 of 2 ").removesuffix("; the same command continues.")
    assert what in ("ended before this was finished", "never came")
    processes = [start(tmp_path, rank, 2, items) for rank in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert found(tmp_path)["kill"][0]["length"] == 4
    work = CountableWork(tmp_path / "notes")
    assert [work.times(item) for item in items] == [1, 1, 1, 2]


def test_a_process_that_never_comes_is_named(tmp_path: Path) -> None:
    assert start(tmp_path, 0, 2, ["a", "bb"], 1.0).wait(60) == 0
    assert found(tmp_path)["bb"][1] == "Process 1 of 2 never came; the same command continues."


def test_the_others_notice_that_process_0_is_gone(tmp_path: Path) -> None:
    process = start(tmp_path, 1, 2, ["a", "bb"], 1.0)
    assert "Process 0 ended before it read the results" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def test_the_environment_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert TorchrunProcesses.from_environment("cpu") == TorchrunProcesses(5, 8)
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert TorchrunProcesses.from_environment().rank == 5 and chosen == [1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="more processes than this machine has GPUs .2.; use --nproc_per_node 2"):
        TorchrunProcesses.from_environment()

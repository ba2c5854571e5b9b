"""A command that is killed at any rename can be repeated: nothing is lost, nothing is left over, and the result is that
of one that was not killed, to the bit."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.stillsplat.stand_ins import clip_images, write_clip

NAMES = [
    "run", "run over another", "poses", "poses over others", "online poses", "predict over another",
    "depth over others",
]  # fmt: skip


def _wrong(name: str, step: int, folder: Path) -> list[str]:
    clip = write_clip(folder / "clip", clip_images())
    (folder / "work").mkdir()
    program = ROOT / "tests/robustness/killed_program.py"
    command = [sys.executable, str(program), name, str(clip), str(folder / "work"), str(step)]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1].endswith(" renames"), (lines, done.stderr[-2000:])
    return [line for line in lines if line.startswith("kill ")]


def test_a_kill_now_and_then(tmp_path: Path) -> None:
    assert _wrong("run over another", 40, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_kill_at_every_rename(name: str, tmp_path: Path) -> None:
    assert _wrong(name, 1, tmp_path) == []

"""What a process that was killed at any rename leaves behind is found again or removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scene.files.atomic import atomic_folder
from scene.files.locking import only_process
from scene.files.recovery import forget, kept_aside, put_aside, recover, take_back
from tests.paths import ROOT

#: replaces the folder argv[1], and a folder and a file in it, and kills itself at the rename number argv[2]
PROGRAM = """
import os, signal, sys
from pathlib import Path
from scene.files.atomic import atomic_file, atomic_folder
number, when, count = int(sys.argv[2]), sys.argv[3], 0
def deadly(function):
    def call(*arguments):
        global count
        count += 1
        if count == number and when == "before": os.kill(os.getpid(), signal.SIGKILL)
        function(*arguments)
        if count == number and when == "after": os.kill(os.getpid(), signal.SIGKILL)
    return call
os.rename, os.replace = deadly(os.rename), deadly(os.replace)
out = Path(sys.argv[1])
with atomic_folder(out / "inner", overwrite=True) as folder:
    (folder / "a").write_text("new")
with atomic_file(out / "file.txt") as file:
    file.write_text("new")
with atomic_folder(out, overwrite=True) as folder:
    for name in ("inner", "file.txt"):
        os.system(f"cp -r {out / name} {folder}")
print(count)
"""


def _run(out: Path, number: int, when: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM, str(out), str(number), when]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _old(out: Path) -> None:
    (out / "inner").mkdir(parents=True)
    (out / "inner" / "a").write_text("old")
    (out / "file.txt").write_text("old")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_rename(tmp_path: Path, when: str) -> None:
    _old(tmp_path / "all" / "out")
    total = int(_run(tmp_path / "all" / "out", 0, when).stdout)
    assert total == 5
    for number in range(1, total + 1):
        out = tmp_path / str(number) / "out"
        _old(out)
        assert _run(out, number, when).returncode == -9
        with only_process(out):
            pass
        assert os.listdir(out.parent) == ["out"] and sorted(os.listdir(out)) == ["file.txt", "inner"]
        assert (out / "inner" / "a").read_text() in ("old", "new") and (out / "file.txt").read_text() in ("old", "new")


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    others = [tmp_path / ".out-settings", tmp_path / ".out-2-abcdefgh.partial", out / ".inner-old", out / ".hidden"]
    for path in others:
        path.mkdir(parents=True)
    (tmp_path / ".out-abcdefgh.partial").mkdir()
    (out / ".checkpoint-abcdefgh.partial.pt").write_text("half")
    recover(out)
    assert all(path.is_dir() for path in others)
    assert not (tmp_path / ".out-abcdefgh.partial").exists()
    assert not (out / ".checkpoint-abcdefgh.partial.pt").exists()


def test_what_was_put_aside_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _old(out)
    kept = put_aside(out)
    out.mkdir()
    recover(out)
    assert kept_aside(out) == kept and (kept / "file.txt").read_text() == "old"
    out.rmdir()
    recover(out)  # nothing has taken its place
    assert (out / "file.txt").read_text() == "old" and os.listdir(tmp_path) == ["out"]
    kept = put_aside(out)
    take_back(kept, out)
    assert kept_aside(out) is None and os.listdir(tmp_path) == ["out"]
    forget(put_aside(out))
    assert os.listdir(tmp_path) == []


def test_long_names(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 240)
    with atomic_folder(out) as folder:
        (folder / "a").touch()
        assert folder.name.endswith(".partial") and len(folder.name) < 100
        recover(out.with_name("x" * 239))  # another place with the same beginning
        assert folder.exists()
    recover(out)
    assert os.listdir(tmp_path) == [out.name]

"""One process at a time works on a place."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.files.locking import only_process
from tests.paths import ROOT

HOLD = """
import sys, time
from pathlib import Path
from scene.files.locking import only_process
with only_process(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_file_exists_only_while_the_lock_is_held(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "out.part"
    for _ in range(2):
        with only_process(place):
            assert (tmp_path / "deep" / "out.part.lock").exists()
        assert list((tmp_path / "deep").iterdir()) == []


def test_the_lock_ends_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), only_process(tmp_path / "out"):
        raise KeyError
    with only_process(tmp_path / "out"):
        pass


def test_another_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    """A process that was killed holds nothing, although its lock file stays behind."""
    place = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match=r"out is being worked on by process \d+ \(-c .*out; since [\d:]+\); wait"),
            only_process(place),
        ):
            pass
        assert (tmp_path / "out.lock").exists()
    finally:
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 10
    while True:
        try:
            with only_process(place):
                break
        except InputError:
            assert time.monotonic() < deadline
    assert not (tmp_path / "out.lock").exists()


def test_a_folder_around_and_a_place_inside_are_held_too(tmp_path: Path) -> None:
    """Whoever works on OUT writes everything in it."""
    out = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="out is being worked on by process"), only_process(out / "model"):
            pass
    finally:
        holder.kill()
        holder.wait()
    inner = subprocess.Popen([sys.executable, "-c", HOLD, str(out / "model")], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert inner.stdout is not None and inner.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="out/model is being worked on by process"), only_process(out):
            pass
    finally:
        inner.kill()
        inner.wait()
    with only_process(out), only_process(out / "model"), only_process(out, nested=True):
        pass
    assert not list(tmp_path.rglob("*.lock"))


def test_a_file_of_somebody_else_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("[[package]]")
    with (
        pytest.raises(InputError, match="poetry.lock is not a lock of this program"),
        only_process(tmp_path / "poetry"),
    ):
        pass
    (tmp_path / "work").mkdir()
    (tmp_path / "work.lock").write_text("theirs")
    with only_process(tmp_path / "work" / "out"):
        pass
    assert (tmp_path / "poetry.lock").read_text() == "[[package]]" and (tmp_path / "work.lock").read_text() == "theirs"


def test_folders_around_are_removed_where_nothing_came_of_the_work(tmp_path: Path) -> None:
    with pytest.raises(KeyError), only_process(tmp_path / "a" / "b" / "out"):
        raise KeyError
    assert not (tmp_path / "a").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), only_process(tmp_path / "file" / "out"):
        pass

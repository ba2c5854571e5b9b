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
        with pytest.raises(InputError, match="out is being worked on by another process"), only_process(place):
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


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), only_process(tmp_path / "file" / "out"):
        pass

"""Outputs appear whole or not at all, whatever happens while they are written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.files.atomic import atomic_file, atomic_folder
from tests.paths import ROOT


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.txt"]


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="out.txt cannot be written: the disk is full"),
        atomic_file(tmp_path / "out.txt"),
    ):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a part of the path is a file"), atomic_file(tmp_path / "file" / "out.txt"):
        pass
    with pytest.raises(InputError, match="name is too long"), atomic_folder(tmp_path / ("x" * 300)):
        pass
    with pytest.raises(InputError, match="exists and is not a folder"), atomic_folder(tmp_path / "file"):
        pass


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
        assert not path.exists()
    assert os.listdir(tmp_path) == ["out"] and os.listdir(path) == ["a"]
    assert path.stat().st_mode & 0o777 == 0o777 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_folder_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    with atomic_folder(path) as temporary:  # an empty one is no loss
        (temporary / "a").write_text("old")
    with pytest.raises(InputError, match="exists already"), atomic_folder(path):
        pytest.fail("the block may not run")
    with atomic_folder(path, overwrite=True) as temporary:
        (temporary / "b").write_text("new")
        assert os.listdir(path) == ["a"]
    assert os.listdir(path) == ["b"] and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "a").write_text("old")
    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_folder(path, overwrite=True) as temporary:
        (temporary / "b").write_text("half")
        raise error
    assert os.listdir(path) == ["a"] and os.listdir(tmp_path) == ["out"]


def test_the_old_folder_comes_back_when_the_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "a").write_text("old")
    rename = os.rename

    def fail_for_the_new(source: str, target: str) -> None:
        if (Path(source) / "b").exists():
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new)
    with pytest.raises(InputError), atomic_folder(path, overwrite=True) as temporary:
        (temporary / "b").write_text("new")
    assert os.listdir(path) == ["a"] and os.listdir(tmp_path) == ["out"]


# a shell that starts the tests in the background makes them deaf to Ctrl-C, and their children too
_SLOW_WRITER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from scene.files.atomic import atomic_folder
with atomic_folder(sys.argv[1]) as temporary:
    (temporary / "a").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_control_c_leaves_nothing(tmp_path: Path) -> None:
    root = ROOT
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) != 0
    process.stdout.close()
    assert os.listdir(tmp_path) == []

"""Paths as people type them."""

import os
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.files.paths import expanded, name_for_library, readable_file, shortened


def test_home_and_plain_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/clip.mp4") == tmp_path / "clip.mp4"
    assert expanded("a b/c.mp4") == Path("a b/c.mp4")


@pytest.mark.parametrize("text", ["~nosuchuser-of-this-machine/a.mp4", "x" * 300, "x/" * 3000, "a\0b"])
def test_what_no_file_system_takes_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError) as caught:
        expanded(text)
    assert len(str(caught.value)) < 400 and "\0" not in str(caught.value)


def test_files_are_readable_and_other_things_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    readable_file(tmp_path / "file", "a file")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file" / "inside", Path("/dev/null")):
        with pytest.raises(InputError):
            readable_file(path, "a file")


def test_names_that_are_no_text_reach_the_same_file(tmp_path: Path) -> None:
    with name_for_library(tmp_path / "plain.txt") as name:
        assert name == str(tmp_path / "plain.txt")
    folder = tmp_path / "a\udcff"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has only names in Unicode")
    for path in (folder / "plain.txt", folder / "b\udcfe.txt"):
        path.write_text("content")
        with name_for_library(path) as name:
            assert name.isascii() and Path(name).read_text() == "content"
    assert len(os.listdir(folder)) == 2


def test_shortened() -> None:
    assert shortened("short") == "short" and shortened("x" * 100, 10) == "x" * 10 + "..."

"""What the word means that names a source."""

from pathlib import Path

import pytest

from dynamic_predictor.driver.source_names import is_live, matching_files, source_title
from scene.errors import InputError


def test_cameras_and_addresses_are_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_live("0") and is_live("12") and is_live("rtsp://camera/1") and is_live("https://a.b/c.m3u8")
    assert not is_live("clip.mp4") and not is_live(Path("0")) and not is_live(["0"]) and not is_live("²")
    (tmp_path / "7").mkdir()
    assert not is_live("7")
    assert source_title("3") == "camera 3" and source_title("clip.mp4") == "clip.mp4"


@pytest.mark.parametrize(
    "text", ["1000", "9" * 30, "9" * 5000, "concat://a|b", "lavfi://testsrc", "file:///etc/passwd", "subfile://x", "data://,"]
)  # fmt: skip
def test_numbers_and_schemes_that_name_no_stream(text: str) -> None:
    with pytest.raises(InputError):
        is_live(text)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip [1080p] 100%"
    folder.mkdir()
    for name in ("f1.png", "f2.png", "f10.png", "f0003.png", "notes.txt", "a[1].png", "50%.png"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("f*.png", ["f1.png", "f2.png", "f0003.png", "f10.png"]),
        ("f%d.png", ["f1.png", "f2.png", "f0003.png", "f10.png"]),
        ("f%04d.png", ["f0003.png"]),
        ("f%2d.png", ["f0003.png", "f10.png"]),
        ("f[12].png", ["f1.png", "f2.png"]),
        ("f?.png", ["f1.png", "f2.png"]),
        ("g%d.png", []),
        ("%d%%.png", ["50%.png"]),
        ("[a].png", []),
    ],
)
def test_patterns(clip: Path, pattern: str, names: list[str]) -> None:
    found = matching_files(clip / pattern)
    assert found is not None and [path.name for path in found] == names


def test_what_exists_as_it_is_written_is_no_pattern(clip: Path) -> None:
    assert matching_files(clip / "nothing.png") is None
    assert matching_files(clip / "sub%d" / "x.png") == []
    assert matching_files(clip.parent / "clip [1080p]*" / "f1.png") in ([], [clip / "f1.png"])


def test_patterns_of_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    found = matching_files(tmp_path / "**" / "*.png")
    assert found == [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png"]

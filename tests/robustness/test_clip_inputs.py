"""Hostile and unlucky clips, in every command that reads one: one sentence and status 2, nothing left behind."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scene.images import write_png
from stillsplat import cli
from tests.scene.media.clips import textured, write_clip
from tests.scene.media.test_image_header import png_that_claims

COMMANDS = ["run", "predict", "poses", "depth"]


def playlist(folder: Path) -> Path:
    (folder / "in.mp4").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nin.mp4\n")
    return folder / "in.mp4"


def concatenation(folder: Path) -> Path:
    write_clip(folder / "other.mp4", textured(3))
    (folder / "in.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    return folder / "in.mp4"


def concat_protocol(folder: Path) -> str:
    return f"concat:{write_clip(folder / 'other.ts', textured(3))}"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "in.mp4")
    return folder / "in.mp4"


def pipe_of_pictures(folder: Path) -> Path:
    os.mkfifo(folder / "in.png")
    return folder / "in.png"


def endless(folder: Path) -> Path:
    (folder / "in.mp4").symlink_to("/dev/zero")
    return folder / "in.mp4"


def huge_animation(folder: Path) -> Path:
    side = (16000).to_bytes(2, "little")
    (folder / "in.gif").write_bytes(b"GIF89a" + side + side + b"\x80\0\0" + bytes(6) + b",")
    return folder / "in.gif"


def huge_pictures(folder: Path) -> Path:
    for name in ("0.png", "1.png"):
        png_that_claims(folder / name, 13300, 13300, 16, 6)
    return folder


def one_huge_picture(folder: Path) -> Path:
    write_png(folder / "0.png", textured(1)[0])
    png_that_claims(folder / "1.png", 10000, 10000)
    return folder


def heic(folder: Path) -> Path:
    for name in ("IMG_1.HEIC", "IMG_2.HEIC"):
        (folder / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    return folder


CLIPS: dict[str, Callable[[Path], Path | str]] = {
    maker.__name__: maker
    for maker in (playlist, concatenation, concat_protocol, pipe, pipe_of_pictures, endless, huge_animation)
    + (huge_pictures, one_huge_picture, heic)
} | {
    "long name": lambda folder: "x" * 300,
    "long path": lambda folder: "x/" * 2500,
    "no such user": lambda folder: "~nosuchuser-of-this-machine/clip.mp4",
    "number of a camera": lambda folder: "9" * 30,
    "other scheme": lambda folder: "lavfi://testsrc",
    "network path to a file": lambda folder: f"file://{folder}",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", CLIPS)
def test_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    given = CLIPS[kind](folder)
    status = cli.main([command, str(given), "-o", str(tmp_path / "out"), "--max-size", "64"])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stillsplat: ")]
    assert status == 2 and len(said) == 1 and len(said[0]) < 700
    assert sorted(os.listdir(tmp_path)) == ["given"]

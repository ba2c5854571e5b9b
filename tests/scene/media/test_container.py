"""Only regular files in containers of their own are opened."""

import os
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.media.container import open_container
from tests.scene.media.clips import textured, write_clip

TEXTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\nreal.ts\n",
    "HLS to itself": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nclip.mp4\n",
    "with a byte order mark": "\ufeff#EXTM3U\n#EXTINF:0.8,\nreal.ts\n",
    "concat": "ffconcat version 1.0\nfile real.ts\n",
    "PLS": "[playlist]\nFile1=real.ts\n",
    "DASH": '<?xml version="1.0"?><MPD><Period/></MPD>',
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_container(path):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8"])
def test_texts_that_name_other_files_are_not_followed(tmp_path: Path, kind: str, suffix: str) -> None:
    write_clip(tmp_path / "real.ts", textured(3))
    path = tmp_path / f"clip.{suffix}"
    path.write_text(TEXTS[kind], "utf-8")
    assert "names others" in refusal(path)


def test_formats_that_are_no_video_of_their_own_are_refused(tmp_path: Path) -> None:
    """A concatenation without its first line, and FFmpeg's metadata, are of no kind that is opened."""
    path = tmp_path / "clip.mp4"
    for text in ("file real.ts\nfile real.ts\n", ";FFMETADATA1\ntitle=x\n", "\n\n#EXTM3U-like\n"):
        path.write_text(text)
        refusal(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe" in refusal(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    assert "is a device" in refusal(tmp_path / "zero.mp4")
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    assert "leads back to itself" in refusal(tmp_path / "round.mp4")
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "nowhere.mp4")


def test_a_huge_canvas_is_refused_by_its_header(tmp_path: Path) -> None:
    side = (16000).to_bytes(2, "little")
    (tmp_path / "huge.gif").write_bytes(b"GIF89a" + side + side + b"\x80\0\0" + bytes(6) + b",")
    assert "16000x16000" in refusal(tmp_path / "huge.gif")


def test_a_heic_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.mov").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert "is a picture" in refusal(tmp_path / "photo.mov")

"""Resumable downloads against a server on this machine."""

import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.files.downloading import download, format_bytes

CONTENT = np.random.default_rng(1).bytes(3_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_whole_file_and_nothing_else(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    seen = []
    path = download(
        f"{range_server.url}/file.bin",
        tmp_path / "deep" / "file.bin",
        size=len(CONTENT),
        sha256=SHA256,
        progress=lambda *report: seen.append(report),
    )
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]
    assert seen
    # once more: nothing is asked
    download(f"{range_server.url}/file.bin", path, size=len(CONTENT), sha256=SHA256)
    assert range_server.ranges == [None]


def test_goes_on_after_an_interruption(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    range_server.drop_after = 1_200_000
    path = tmp_path / "file.bin"
    download(f"{range_server.url}/file.bin", path, sha256=SHA256, pause=0.01)
    assert path.read_bytes() == CONTENT
    assert range_server.ranges == [None, "bytes=1200000-", "bytes=2400000-"]


def test_goes_on_in_the_next_call(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    range_server.drop_after = 200_000
    path = tmp_path / "file.bin"
    with pytest.raises(InputError, match="cannot be reached"):
        download(f"{range_server.url}/file.bin", path, pause=0.01)
    assert not path.exists()
    range_server.drop_after = None
    download(f"{range_server.url}/file.bin", path, sha256=SHA256, pause=0.01)
    assert path.read_bytes() == CONTENT
    assert range_server.ranges[-1] == "bytes=800000-"


def test_a_file_that_changed_meanwhile_starts_anew(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = bytes(2_000_000)
    range_server.drop_after = 100_000
    with pytest.raises(InputError):
        download(f"{range_server.url}/file.bin", tmp_path / "file.bin", pause=0.01)
    range_server.files["/file.bin"] = CONTENT
    range_server.etag, range_server.drop_after = '"two"', None
    assert download(f"{range_server.url}/file.bin", tmp_path / "file.bin", pause=0.01).read_bytes() == CONTENT


def test_credentials_are_not_shown_to_another_server(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    range_server.moved["/here"] = "/file.bin"
    range_server.moved["/elsewhere"] = range_server.url.replace("127.0.0.1", "localhost") + "/file.bin"
    for address, shown in (("/here", "Bearer secret"), ("/elsewhere", None)):
        path = tmp_path / address[1:]
        download(range_server.url + address, path, headers={"Authorization": "Bearer secret"}, sha256=SHA256)
        assert range_server.asked[-1] == ("GET", "/file.bin", shown)
        assert path.read_bytes() == CONTENT


def test_server_without_ranges(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    range_server.honours_ranges = False
    (tmp_path / ".file.bin.part").write_bytes(b"left over")
    assert download(f"{range_server.url}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    (tmp_path / ".file.bin.part").write_bytes(bytes(len(CONTENT) + 5))
    assert download(f"{range_server.url}/file.bin", tmp_path / "file.bin", pause=0.01).read_bytes() == CONTENT


def test_wrong_checksum_and_wrong_size(range_server, tmp_path: Path) -> None:
    range_server.files["/file.bin"] = CONTENT
    path = tmp_path / "file.bin"
    with pytest.raises(InputError, match="checksum"):
        download(f"{range_server.url}/file.bin", path, sha256="0" * 64)
    with pytest.raises(InputError, match="4 are expected"):
        download(f"{range_server.url}/file.bin", path, size=4)
    assert not path.exists()


def test_refusals_are_one_sentence(range_server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with pytest.raises(InputError, match=f"404.*{path}"):
        download(f"{range_server.url}/nothing", path)
    range_server.fail_with = 503
    with pytest.raises(InputError, match="503"):
        download(f"{range_server.url}/nothing", path, pause=0.01)
    with pytest.raises(InputError, match="not a web address"):
        download("file:///etc/passwd", path)


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(InputError, match=f"without a network.*{tmp_path / 'file.bin'}"):
        download(f"http://127.0.0.1:{port}/file.bin", tmp_path / "file.bin")


def test_spoken_sizes() -> None:
    assert [format_bytes(n) for n in (12, 1500, 137_248_940, 6_759_558_100)] == [
        "12 bytes",
        "1.5 kB",
        "137 MB",
        "6.8 GB",
    ]

"""Arrays and checkpoints that unpack to gigabytes, or that are none."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError
from scene.files.arrays import read_array, read_entries, read_npy, read_npz
from scene.files.text import read_text
from scene.files.torch_files import check_torch_file
from tests.robustness.mutations import QUICK, damaged, little_memory, result_or_sentence


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


SMALL = packed(z_depth=np.ones((3, 4), np.float32), text=np.array(["a", "bc"]))


def with_header(header: bytes, path: Path, body: int = 0) -> Path:
    """An .npz file with the array `z_depth` whose .npy file is `header` and `body` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("z_depth.npy", "w") as file:
        file.write(header)
        for _ in range(body >> 20):
            file.write(bytes(1 << 20))
    return path


def header_of(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


BOMBS = {
    "a header of 300 MB": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 300 << 20), 300 << 20),
    "a header of 4 GB": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 0),
    "many values": (header_of("(100000, 100000)"), 0),
    "wide values": (header_of("(1,)", "<U400000000"), 0),
    "negative sides": (header_of("(-1, 4)"), 0),
    "sides beyond 64 bits": (header_of("(9" + "9" * 30 + ", 4)"), 0),
    "objects": (header_of("(1,)", "|O"), 0),
    "another version": (b"\x93NUMPY\x09\x00", 0),
    "no array": (b"text", 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_arrays_that_unpack_to_gigabytes(name: str, tmp_path: Path) -> None:
    header, body = BOMBS[name]
    path = with_header(header, tmp_path / "depth.npz", body)
    for read in (
        lambda: read_npz(path, "z_depth", (3, 4)),
        lambda: read_entries(path),
        lambda: read_entries(path, ("z_depth",)),
    ):
        with little_memory(256 << 20), pytest.raises(InputError, match=r"depth\.npz"):
            read()
    plain = tmp_path / "depth.npy"
    plain.write_bytes(header)
    for read_plain in (lambda: read_npy(plain, (3, 4)), lambda: read_array(plain)):
        with little_memory(256 << 20), pytest.raises(InputError, match=r"depth\.npy"):
            read_plain()


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(SMALL)
    assert read_npz(path, "z_depth", (3, 4)).sum() == 12
    assert set(read_entries(path)) == {"z_depth", "text"}
    assert list(read_entries(path, ("z_depth",), optional=("no", "text"))) == ["z_depth", "text"]
    np.save(tmp_path / "b.npy", np.arange(6).reshape(1, 2, 3))
    assert read_array(tmp_path / "b.npy").shape == (1, 2, 3)


@QUICK
@given(damaged(SMALL))
def test_damaged_arrays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    result_or_sentence(lambda: read_entries(path))
    result_or_sentence(lambda: read_npz(path, "z_depth", (3, 4)))


def test_checkpoints_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    torch.save({"state": torch.zeros(64 << 18)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for record in whole.namelist():
            bomb.writestr(record, whole.read(record))
    assert path.stat().st_size < 1 << 20
    for read in (lambda: check_torch_file(path), lambda: read_checkpoint(path)):
        with little_memory(64 << 20), pytest.raises(InputError, match="compressed archive"):
            read()
    assert check_torch_file(tmp_path / "whole.pt")


@QUICK
@given(content=damaged(b""))
def test_nothing_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert result_or_sentence(lambda: read_checkpoint(path)) is None


def test_damaged_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"model": {"weight": torch.ones(2, 3)}, "args": {"model": "A()"}}, path)
    content = path.read_bytes()

    @QUICK
    @given(damaged(content))
    def check(damaged_content: bytes) -> None:
        path.write_bytes(damaged_content)
        result_or_sentence(lambda: read_checkpoint(path))

    check()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    readers = [lambda: read_entries(path), lambda: read_array(path), lambda: read_text(path)]
    readers += [lambda: check_torch_file(path), lambda: read_checkpoint(path)]
    for read in readers:
        with pytest.raises(InputError, match=r"a\.npz"):
            read()

"""Damaged .sens files are refused with one sentence and without much memory."""

import struct
from pathlib import Path

import pytest

from dynamic_predictor.preparation.scannet import read_sens
from scene.errors import InputError
from tests.dynamic_predictor.preparation.raw_folders import COUNT, WRITERS


@pytest.fixture()
def sens(tmp_path: Path) -> Path:
    WRITERS["scannet"](tmp_path)
    return tmp_path / "scans_train" / "scene0001_00" / "scene0001_00.sens"


def test_damage(sens: Path) -> None:
    whole = sens.read_bytes()
    assert len(list(read_sens(sens))) == COUNT
    start = 12 + 3 + 4 * 64
    for content, message in (
        (b"", "ends in the middle"),
        (whole[:-5], "ends in the middle"),
        (struct.pack("<I", 3) + whole[4:], "not a .sens file of version 4"),
        (whole[:4] + struct.pack("<Q", 1 << 40) + whole[12:], "not a .sens file of version 4"),
        (whole[:start] + struct.pack("<2i", 1, 1) + whole[start + 8 :], "only JPEG and zlib"),
        (whole[: start + 8] + struct.pack("<I", 1 << 30) + whole[start + 12 :], "damaged header"),
        (whole[: start + 8] + struct.pack("<I", 64) + whole[start + 12 :], "damaged frame"),
        (whole[: start + 36 + 64 + 16] + struct.pack("<Q", 1 << 50) + whole[start + 36 + 64 + 24 :], "impossible size"),
        (whole[:-40] + bytes(40), "damaged frame"),
    ):
        sens.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            list(read_sens(sens))
        assert "\n" not in str(caught.value)

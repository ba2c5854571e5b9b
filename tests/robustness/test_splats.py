"""Damaged files of Gaussians, in every format: Gaussians or one sentence, in little memory and time."""

import functools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.splat_files import read_splats, splat_files
from tests.robustness.mutations import QUICK, damaged, little_memory, result_or_sentence
from tests.scene.formats.splat_samples import sample_splats


@functools.cache
def sample(name: str) -> bytes:
    file = splat_files()[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{file.suffix}"
        file.write(path, sample_splats(degree=1, count=12), ExportOptions())
        return path.read_bytes()


@pytest.mark.parametrize("name", splat_files())
def test_damaged_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{splat_files()[name].suffix}"

    @QUICK
    @given(damaged(sample(name)))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        splats = result_or_sentence(lambda: read_splats(path, drop_invalid=True))
        assert splats is None or len(splats) <= 4 * len(content)

    check()


HEADER = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nend_header\n"


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("count", ["999999999999", "-5", "9" * 5000, "0" * 30 + "9" * 12, "1e9", "²", "0x10", ""])
def test_counts_beyond_the_file(count: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(HEADER.format(form, count).encode() + b"1.0\n")
    with little_memory(256 << 20), pytest.raises(InputError, match=r"a\.ply"):
        read_splats(path)

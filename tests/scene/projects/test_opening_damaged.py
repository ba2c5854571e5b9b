"""Projects with any bytes changed are opened or refused in one sentence, never anything else."""

import random
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.projects.opening import open_project
from tests.scene.projects.project_folders import colmap_project
from tests.scene.projects.test_opening import nerfstudio_project

_WORDS = [b"1e300", b"9" * 400, b"nan", b"inf", b"-1", b"", b"\\ud800", b"[[[[", b"null", b'"a"', b"{}", b"0", b"true"]


def test_any_damage_is_one_sentence_or_harmless(tmp_path: Path) -> None:
    colmap_project(tmp_path / "binary")
    colmap_project(tmp_path / "text")
    for path in (tmp_path / "text/sparse/0").glob("*.bin"):
        path.unlink()
    nerfstudio_project(tmp_path / "studio")
    files = [
        *(tmp_path / "binary/sparse/0").glob("*.bin"),
        *(tmp_path / "text/sparse/0").glob("*.txt"),
        tmp_path / "studio/transforms.json",
    ]
    generator, refused = random.Random(0), 0
    for turn in range(240):
        path = files[turn % len(files)]
        original = path.read_bytes()
        path.write_bytes(damaged(original, path.suffix == ".bin", generator))
        folder = tmp_path / path.relative_to(tmp_path).parts[0]
        with np.errstate(all="ignore"):
            try:
                open_project(folder).frames.rgb8(1)
            except InputError as error:
                refused += 1
                assert str(error).encode("utf-8") and "\n" not in str(error)
        path.write_bytes(original)
    assert 100 < refused < 240


def damaged(content: bytes, is_binary: bool, generator: random.Random) -> bytes:
    place = generator.randrange(len(content))
    kind = generator.random()
    if kind < 0.2:
        return content[:place]
    if kind < 0.4:
        return content[:place] + bytes([generator.randrange(256)]) + content[place + 1 :]
    if is_binary:
        return content[:place] + generator.choice([b"\xff" * 8, b"\0" * 8, b"\x7f"]) + content[place + 8 :]
    end = place
    while end < len(content) and content[end : end + 1] not in b" ,\n]}":
        end += 1
    return content[:place] + generator.choice(_WORDS) + content[end:]

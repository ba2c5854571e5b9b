"""Folders of every known layout open as scenes."""

from pathlib import Path

import pytest

from scene.errors import InputError
from scene.folder import save_scene
from scene.formats import registry
from scene.formats.das3r import read_das3r
from scene.formats.registry import Format
from scene.open_scene import is_scene, open_scene


def test_any_layout_opens(das3r: Path, tmp_path: Path) -> None:
    assert is_scene(das3r / "output") and is_scene(das3r / "output_rearranged") and not is_scene(das3r)
    save_scene(read_das3r(das3r / "output"), tmp_path / "ours")
    for folder in (das3r / "output", das3r / "output_rearranged", tmp_path / "ours"):
        assert is_scene(folder) and len(open_scene(folder).frames) == 3
    with pytest.raises(InputError, match="is not a scene: it has neither"):
        open_scene(das3r)
    with pytest.raises(InputError, match="does not exist"):
        open_scene(tmp_path / "nothing")


def test_a_format_with_a_reader_opens_by_its_row(das3r: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = read_das3r(das3r / "output")
    row = Format(
        "toy",
        "a toy",
        "toy.txt",
        ("images",),
        lambda *_: None,
        recognizes=lambda folder: (folder / "toy.txt").exists(),
        read=lambda folder: scene,
    )
    (tmp_path / "toy.txt").write_text("")
    assert not is_scene(tmp_path)
    monkeypatch.setattr(registry, "_FORMATS", registry.formats())
    registry.register(row)
    assert is_scene(tmp_path) and open_scene(tmp_path) is scene
    with pytest.raises(InputError, match="exists already"):
        save_scene(scene, tmp_path)

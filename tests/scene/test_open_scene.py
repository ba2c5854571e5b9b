"""Folders of every known layout open as scenes."""

from pathlib import Path

import pytest

from scene.errors import InputError
from scene.folder import save_scene
from scene.formats.das3r import read_das3r
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

"""Opens a folder as a scene, in our layout or DAS3R's."""

from pathlib import Path

from scene.errors import InputError
from scene.folder import is_scene, load_scene
from scene.formats.das3r import read_das3r
from scene.scene import Scene


def open_scene(folder: str | Path) -> Scene:
    """The scene in `folder`: our layout (`scene.folder`), or either layout of DAS3R (`scene.formats.das3r`).

    Raises `InputError` when it is neither, and for anything that is missing or damaged in it.
    """
    folder = Path(folder).expanduser()
    if folder.is_dir() and not is_scene(folder):
        raise InputError(
            f"{folder} is not a scene: it has neither scene.json nor DAS3R's pred_traj.txt and pred_intrinsics.txt."
        )
    return read_das3r(folder) if is_scene(folder) and not (folder / "scene.json").exists() else load_scene(folder)

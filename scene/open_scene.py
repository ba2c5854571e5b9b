"""Opens a folder as a scene, whichever of the known layouts it has."""

from pathlib import Path

from scene.errors import InputError
from scene.folder import load_scene
from scene.formats.das3r import is_das3r, read_das3r
from scene.scene import Scene


def is_scene(folder: str | Path) -> bool:
    """Whether `folder` is, or was meant to be, a scene of ours or one that DAS3R wrote."""
    folder = Path(folder).expanduser()
    return (folder / "scene.json").exists() or is_das3r(folder)


def open_scene(folder: str | Path) -> Scene:
    """The scene in `folder`: our own layout (`scene.folder`), or DAS3R's in either form (`scene.formats.das3r`).

    Raises `InputError` when it is neither, and for anything that is missing or broken in it.
    """
    folder = Path(folder).expanduser()
    if is_das3r(folder) and not (folder / "scene.json").exists():
        return read_das3r(folder)
    if folder.is_dir() and not is_scene(folder):
        raise InputError(
            f"{folder} is no scene: it has neither scene.json nor DAS3R's pred_traj.txt and pred_intrinsics.txt."
        )
    return load_scene(folder)

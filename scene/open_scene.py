"""Opens a folder as a scene, in our layout or that of a format that has a reader."""

from pathlib import Path

from scene.errors import InputError
from scene.folder import is_scene, load_scene
from scene.formats.registry import format_of_scene, formats
from scene.scene import Scene


def open_scene(folder: str | Path) -> Scene:
    """The scene in `folder`: our layout (`scene.folder`), or one of the formats that are read as scenes
    (`scene.formats.registry`).

    Raises `InputError` when it is none of them, and for anything that is missing or damaged in it.
    """
    folder = Path(folder).expanduser()
    row = None if (folder / "scene.json").exists() else format_of_scene(folder)
    if row is not None and row.read is not None:
        return row.read(folder)
    if folder.is_dir() and not is_scene(folder):
        known = ", ".join(name for name, row in formats().items() if row.read is not None)
        raise InputError(f"{folder} is not a scene: it has neither scene.json nor the files of a scene of {known}.")
    return load_scene(folder)

"""Opens a folder as a scene, in our layout or that of a format that has a reader."""

from pathlib import Path

from scene.errors import InputError
from scene.folder import is_scene, load_scene
from scene.formats.registry import format_of_scene, formats
from scene.projects.opening import is_project, open_project
from scene.scene import Scene


def can_open(folder: str | Path) -> bool:
    """Whether `folder` is a scene or a project, which `open_scene` opens; it may be damaged."""
    return is_scene(folder) or is_project(folder)


def open_scene(folder: str | Path) -> Scene:
    """The scene in `folder`: our layout (`scene.folder`), one of the formats that are read as scenes
    (`scene.formats.registry`), or a project of COLMAP or nerfstudio (`scene.projects.opening`).

    Raises `InputError` when it is none of them, and for anything that is missing or damaged in it.
    """
    folder = Path(folder).expanduser()
    row = None if (folder / "scene.json").exists() else format_of_scene(folder)
    if row is not None and row.read is not None:
        return row.read(folder)
    if folder.is_dir() and not is_scene(folder):
        if is_project(folder):
            return open_project(folder)
        known = ", ".join(name for name, row in formats().items() if row.read is not None)
        raise InputError(
            f"{folder} is not a scene: it has neither scene.json nor the files of a scene of {known}, nor those of a "
            "project of COLMAP (images/ and sparse/0) or nerfstudio (transforms.json)."
        )
    return load_scene(folder)

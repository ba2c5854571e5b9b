"""The folder of an evaluation's results: the paths of its files, and the record of each finished clip."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from scene.errors import InputError
from scene.files.json_files import plain, read_json, write_json
from scene.files.output_place import check_output_folder
from scene.open_scene import is_scene

Layout = Literal["scene", "das3r"]


class ResultsFolder:
    """The results of one evaluation of a data set:

    <clip>/                            the scene, in this project's layout or in DAS3R's
    <clip>.png                         plot of the camera path
    evaluation/<clip>.json             record: the settings that made the scene, and its scores
    evaluation/<kind>.{txt,json,tex}   tables
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def scene(self, clip: str) -> Path:
        return self.path / file_name(clip)

    def plot(self, clip: str) -> Path:
        return self.path / f"{file_name(clip)}.png"

    def tables(self) -> Path:
        return self.path / "evaluation"

    def table(self, kind: str, suffix: str) -> Path:
        return self.tables() / f"{kind}.{suffix}"

    def record(self, clip: str) -> dict[str, Any]:
        """The record of one clip; empty when there is none."""
        path = self._record_path(clip)
        return read_json(path) if path.exists() else {}

    def write_record(self, clip: str, record: dict[str, Any]) -> None:
        write_json(self._record_path(clip), record)

    def delete_record(self, clip: str) -> None:
        """Removes the record of one clip, if there is one."""
        self._record_path(clip).unlink(missing_ok=True)

    def has_scene(self, clip: str, made_by: dict[str, Any], *, overwrite: bool) -> bool:
        """Whether the scene of a clip exists and was made with the settings `made_by`. Raises `InputError` when it was
        made with other settings and `overwrite` is off."""
        folder = self.scene(clip)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        recorded = self.record(clip).get("made_by")
        if recorded == plain(made_by):
            return True
        if overwrite:
            return False
        if recorded is None:
            raise InputError(
                f"{folder} exists but was not made by an evaluation; choose another --output_dir or add --overwrite."
            )
        different = sorted(key for key in made_by.keys() | recorded.keys() if made_by.get(key) != recorded.get(key))
        raise InputError(
            f"{folder} was made with another {' and '.join(different)}; choose another --output_dir or add --overwrite."
        )

    def _record_path(self, clip: str) -> Path:
        return self.tables() / f"{file_name(clip)}.json"


@contextmanager
def without_empty_folders(*folders: Path) -> Iterator[None]:
    """Removes, when the block ends, those of `folders` and their parents that the block created and left empty."""
    new = {folder for path in folders for folder in (path, *path.parents) if not folder.exists()}
    try:
        yield
    finally:
        for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()


def check_scene_folder(folder: Path, *, overwrite: bool) -> None:
    """Raises `InputError` when `folder` exists and `overwrite` is off, or it is not a scene."""
    check_output_folder(
        folder, holds="a scene", is_ours=is_scene, overwrite=overwrite, elsewhere="another --output_dir"
    )


def file_name(clip: str) -> str:
    """The name of a clip as a single path component."""
    return clip.replace("/", "_")

"""Where the results of an evaluation lie, and what has been finished there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import read_json
from scene.open_scene import is_scene

Layout = Literal["scene", "das3r"]


class ResultsFolder:
    """One run over a data set:

    <clip>/                      the scene, in our layout or in DAS3R's
    <clip>.png                   the camera path
    evaluation/<clip>.json       how the scene was made, and its scores
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
        """What is known about one clip; empty when nothing is."""
        path = self._record_path(clip)
        return read_json(path) if path.exists() else {}

    def write_record(self, clip: str, record: dict[str, Any]) -> None:
        with atomic_file(self._record_path(clip)) as temporary:
            temporary.write_text(json.dumps(_plain(record), indent=2, ensure_ascii=False) + "\n")

    def forget(self, clip: str) -> None:
        """Removes what is known about one clip."""
        self._record_path(clip).unlink(missing_ok=True)

    def has_scene(self, clip: str, made_by: dict[str, Any], *, overwrite: bool) -> bool:
        """Whether the scene of a clip is there as `made_by` would make it. Raises `InputError` when another is in its
        place and `overwrite` is off."""
        folder = self.scene(clip)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        recorded = self.record(clip).get("made_by")
        if recorded == json.loads(json.dumps(made_by)):
            return True
        if overwrite:
            return False
        if recorded is None:
            raise InputError(f"{folder} exists but was not made here; choose another --output_dir or add --overwrite.")
        different = sorted(key for key in made_by.keys() | recorded.keys() if made_by.get(key) != recorded.get(key))
        raise InputError(
            f"{folder} was made with another {' and '.join(different)}; choose another --output_dir or add --overwrite."
        )

    def _record_path(self, clip: str) -> Path:
        return self.tables() / f"{file_name(clip)}.json"


@contextmanager
def without_empty_folders(*folders: Path) -> Iterator[None]:
    """However the block ends, those of `folders`, and of the folders they are in, that came to be in it go again when
    they are empty."""
    new = {folder for path in folders for folder in (path, *path.parents) if not folder.exists()}
    try:
        yield
    finally:
        for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Raises `InputError` when no scene may be written into `folder`, so that it is known before the work is done: it
    is there and `overwrite` is off, or it is something else than a scene."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another --output_dir.")
    if not overwrite:
        raise InputError(f"{folder} exists already; choose another --output_dir or add --overwrite.")
    if not is_scene(folder):
        raise InputError(f"{folder} holds other things than a scene and is not replaced; choose another --output_dir.")


def file_name(clip: str) -> str:
    """The name of a clip as one part of a path."""
    return clip.replace("/", "_")


def _plain(value: Any) -> Any:
    """JSON knows no NaN: None instead."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value

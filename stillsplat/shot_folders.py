"""A folder with the results of each shot of a clip: OUT/shot-01, OUT/shot-02, ... and OUT/shots.json about them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.shots import SeveralShots, shot_name
from dynamic_predictor.footage.shots import FoundShots
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json, write_json

RECORD = "shots.json"


def holds_shots(folder: str | Path) -> bool:
    """Whether `folder` has the results of several shots."""
    return (Path(folder).expanduser() / RECORD).is_file()


def spans_of(found: FoundShots) -> list[dict[str, Any]]:
    """The shots for a record: number, folder, first and last frame."""
    return [
        {"shot": number, "folder": shot_name(number), "first": shot.start, "last": shot.stop - 1}
        for number, shot in enumerate(found.shots, start=1)
    ]


def shots_in(folder: str | Path) -> list[Path]:
    """The folders of the shots that have results. Raises `InputError` for a damaged record."""
    path = Path(folder) / RECORD
    entries = read_json(path).get("shots")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise InputError(f"{path} is damaged; make the results again.")
    return [Path(folder) / shot_name(int(one["shot"])) for one in entries if one.get("failure") is None]


def write_shots(
    several: SeveralShots,
    output: Path,
    one: Callable[[int, Path], None],
    *,
    warn: Callable[[str], None],
) -> None:
    """Calls `one` with the number and the folder of each shot, and makes `output` out of these folders, whole or not at
    all. A shot that cannot be used does not stop the others; raises `InputError` where none can."""
    entries = spans_of(several.found)
    with atomic_folder(output) as whole:
        for entry in entries:
            folder = whole / entry["folder"]
            try:
                one(entry["shot"], folder)
            except InputError as error:
                shutil.rmtree(folder, ignore_errors=True)
                entry["failure"] = str(error)
                warn(f"Shot {entry['shot']} is left out: {error}")
        if all("failure" in entry for entry in entries):
            raise InputError(f"None of the {len(entries)} shots can be used: {entries[0]['failure']}")
        write_json(whole / RECORD, {"schema_version": 1, "shots": entries})

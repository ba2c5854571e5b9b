"""The output folder of a run: its files, its finished stages, and how it is begun, continued or replaced."""

import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.files.json_files import write_json
from scene.files.recovery import forget, kept_aside, put_aside, take_back
from scene.frames import Frames
from scene.images import read_image
from stillsplat import __version__
from stillsplat.run_records import check_indices, read_run
from stillsplat.settings import RunSettings

RECORD = "run.json"
#: the stages of a run after its scene, in their order
AFTER_SCENE = ("masks", "optimize", "render", "export", "plate", "score", "report")
_SCHEMA_VERSION = 1


class RunFolder:
    """OUT and its record. Every stage writes its files whole, then is marked as finished with its time."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self.scene, self.model, self.renders = path / "scene", path / "model", path / "renders"
        #: in how many frames the static points of some frames are seen (`stillsplat.visibility`)
        self.seen = path / "seen"
        self.splats, self.report = path / "splats.ply", path / "report.html"
        self.clean_video, self.compare_video = path / "clean.mp4", path / "compare.mp4"
        self.metrics, self.evaluation = path / "metrics.json", path / "evaluation.json"
        #: everything that `--export` writes
        self.exports = path / "export"
        #: for temporary files; removed when the run ends, however it ends
        self.working = path / ".working"
        self._made: list[Path] = []
        self._replaced: Path | None = None

    @property
    def settings(self) -> RunSettings:
        try:
            return RunSettings.from_dict(self.record["settings"])
        except InputError as error:
            raise InputError(f"{self.path / RECORD}: {error}") from None

    def finished(self, stage: str) -> bool:
        return stage in self.record["stages"]

    def render(self, index: int, frames: Frames) -> np.ndarray:
        """The static render of frame `index` of `frames`, uint8 RGB (H, W, 3)."""
        path = self.renders / f"{index:05d}.png"
        image = read_image(path)
        if image.shape[:2] != (frames.height, frames.width):
            raise InputError(
                f"{path} is {image.shape[1]}x{image.shape[0]}, but the frames of the run are "
                f"{frames.width}x{frames.height}; render them again."
            )
        return image

    def check_frames(self, count: int) -> None:
        """Raises `InputError` unless the record is of a run of `count` frames."""
        found = self.record["stages"].get("optimize", {}).get("test_frames", [])
        check_indices(found, count, self.path / RECORD)

    def any_finished(self) -> bool:
        return bool(self.record["stages"])

    def finish(self, stage: str, seconds: float, **findings: Any) -> None:
        """Marks `stage` as finished; `findings` are kept with it."""
        self.record["stages"][stage] = {"seconds": round(seconds, 3), **findings}
        self.write_record()
        self._forget_replaced()

    def forget(self, *stages: str) -> None:
        """Marks `stages` as not finished, so that they are made again."""
        for stage in stages:
            self.record["stages"].pop(stage, None)
        self.write_record()

    def write_record(self) -> None:
        write_json(self.path / RECORD, self.record)

    def clean_up(self) -> None:
        """Removes temporary files; without a finished stage, removes the folder and restores what it replaced."""
        shutil.rmtree(self.working, ignore_errors=True)
        if self.any_finished() or not self._made:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in self._made:
            with suppress(OSError):
                parent.rmdir()
        if self._replaced is not None:
            with suppress(OSError):
                take_back(self._replaced, self.path)
            self._replaced = None

    def _forget_replaced(self) -> None:
        if self._replaced is not None:
            forget(self._replaced)
            self._replaced = None


def begin(path: Path, settings: RunSettings, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """The folder for a new run, or with `resume` the unfinished one that is there. The caller holds its lock
    (`scene.files.locking`). A run that is replaced is kept until the new one has finished a stage.

    Raises `InputError` when `path` exists and neither `resume` nor `overwrite` is set, when it is not the folder of a
    run, when `resume` is set with other settings than before, and when it cannot be written.
    """
    path = Path(path)
    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite throws it away; give only one of them.")
    _refuse_output_around_input(path, settings)
    exists = os.path.lexists(path)
    if exists and not path.is_dir():
        raise InputError(f"{path} exists and is not a folder; choose another output folder.")
    if exists and not (resume or overwrite):
        hint = "--resume to continue it, --overwrite to replace it" if (path / RECORD).exists() else "choose another"
        raise InputError(f"The output folder {path} exists already; {hint}.")
    if exists and not (path / RECORD).exists() and any(path.iterdir()):
        raise InputError(f"{path} was not made by stillsplat run and is left alone; choose another output folder.")
    # what a run that was killed in its first stage was about to replace
    kept = kept_aside(path)
    if exists and resume and (path / RECORD).exists():
        folder = _continue(path, settings)
        if not folder.any_finished():
            folder._replaced, folder._made = kept, [path]
        elif kept is not None:
            forget(kept)
        return folder
    replaced = _replaceable(path, kept) if exists else None
    record = {
        "schema_version": _SCHEMA_VERSION,
        "stillsplat_version": __version__,
        "source_revision": source_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": settings.to_dict(),
        "stages": {},
    }
    folder = RunFolder(path, record)
    folder._replaced = replaced
    folder._made = _make(path)
    try:
        folder.write_record()
    except BaseException:
        folder.clean_up()
        raise
    return folder


def open_run(path: Path) -> RunFolder:
    """The folder of an earlier run. Raises `InputError` when it is none, when its record is damaged, and when it has a
    run for each of several shots."""
    folder = _open(Path(path))
    if folder.finished("shots"):
        shots = folder.record["stages"]["shots"].get("shots") or [{}]
        raise InputError(
            f"{path} has {len(shots)} runs, one for each shot of the clip; give one of them, such as "
            f"{folder.path / str(shots[0].get('folder', 'shot-01'))}."
        )
    return folder


def _open(path: Path) -> RunFolder:
    if not path.exists():
        raise InputError(f"{path} does not exist; give the output folder of stillsplat run.")
    if not (path / RECORD).is_file():
        raise InputError(f"{path} is not the output folder of stillsplat run: it has no {RECORD}.")
    record = read_run(path / RECORD)
    if record.get("schema_version") != _SCHEMA_VERSION:
        raise InputError(f"{path / RECORD} is from another version of stillsplat; run again into a new folder.")
    folder = RunFolder(path, record)
    folder.settings  # noqa: B018 - raises where they are damaged
    return folder


def code_version() -> str:
    """Version of stillsplat, with the git revision where it runs from a checkout."""
    revision = source_revision()
    return f"stillsplat {__version__}" + (f" ({revision})" if revision else "")


def source_revision() -> str | None:
    """The git revision of a checkout that stillsplat runs from, short; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    try:
        head = (root / ".git" / "HEAD").read_text("ascii").strip()
        if head.startswith("ref: "):
            reference = root / ".git" / head[5:]
            if reference.is_file():
                head = reference.read_text("ascii").strip()
            else:
                packed = (root / ".git" / "packed-refs").read_text("ascii").splitlines()
                head = next(line.split()[0] for line in packed if line.endswith(" " + head[5:]))
        return head[:12]
    except (OSError, UnicodeDecodeError, StopIteration):
        return None


def _continue(path: Path, settings: RunSettings) -> RunFolder:
    folder = _open(path)
    different = settings.differences(folder.settings)
    # a finished optimization goes on from where it ended
    goes_on = (
        folder.finished("optimize") or folder.finished("shots")
    ) and settings.iterations > folder.settings.iterations
    if goes_on:
        different.remove("--iterations")
    if different:
        raise InputError(
            f"{path} was begun with another value of {', '.join(different)}; repeat the first command with --resume "
            "added, or start over with --overwrite."
        )
    shutil.rmtree(folder.working, ignore_errors=True)
    folder.record["settings"] = settings.to_dict()
    if goes_on:
        for stage in AFTER_SCENE:
            folder.record["stages"].pop(stage, None)
    folder.write_record()
    return folder


def _refuse_output_around_input(path: Path, settings: RunSettings) -> None:
    output = path.expanduser().resolve()
    for what, given in (
        ("input", settings.input),
        ("masks folder", settings.masks),
        ("annotations folder", settings.annotations),
    ):
        if given is None:
            continue
        there = Path(given).expanduser().resolve()
        if there == output or output in there.parents:
            raise InputError(f"The {what} {given} lies in the output folder {path}; choose another output folder.")


def _replaceable(path: Path, kept: Path | None) -> Path:
    """Puts the run in `path` aside and returns where it is; where it has finished no stage, it is removed instead, and
    what it was about to replace stays `kept`."""
    try:
        if kept is not None and not _any_finished(path):
            shutil.rmtree(path)
            return kept
        if kept is not None:
            forget(kept)
        return put_aside(path)
    except OSError as error:
        raise writing_error(path, error) from error


def _any_finished(path: Path) -> bool:
    try:
        return _open(path).any_finished()
    except InputError:
        return False


def _make(path: Path) -> list[Path]:
    """Makes `path` with its parents; returns what was made, innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True)
    except OSError as error:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise writing_error(path, error) from error
    return missing

"""The batch: which clips are left, the engine that does them, and what is written about all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dynamic_predictor.evaluation.distribution import Engine, Outcome, OutcomeFiles, Work, for_each
from dynamic_predictor.evaluation.tables import write_tables
from scene.errors import InputError
from scene.files.json_files import write_json
from scene.files.locking import only_process
from scene.files.recovery import recover_files
from stillsplat.batch.clip_work import ClipWork, comparable
from stillsplat.batch.clips import Clip, FoundClips
from stillsplat.batch.folder import BatchFolder
from stillsplat.batch.index_page import IndexPage
from stillsplat.batch.published_psnr import psnr_tables
from stillsplat.run_folder import code_version, open_run
from stillsplat.settings import RunSettings

RECORD_SCHEMA = 1


class Watcher(Protocol):
    """Is told of a batch while it runs."""

    def begin(self, clips: list[Clip], folder: BatchFolder) -> None:
        """The clips are known, and the work begins."""
        ...

    def done(self, outcome: Outcome, *, was_known: bool) -> None:
        """A clip has succeeded or failed; `was_known`: in an earlier batch."""
        ...


@dataclass
class BatchResult:
    """What became of the clips, in their order."""

    folder: BatchFolder
    outcomes: dict[str, Outcome]
    #: our figures beside published ones, as text; "": nothing is published for these clips and settings
    tables: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, str]:
        """The reasons by clip."""
        return {name: outcome.failure for name, outcome in self.outcomes.items() if outcome.failure is not None}


def run_batch(
    found: FoundClips,
    settings: Callable[[Clip], RunSettings],
    output: str | Path,
    engine: Callable[[BatchFolder], Engine],
    *,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    method: str = "ours",
    wrapped: Callable[[ClipWork], Work] = lambda work: work,
) -> BatchResult:
    """Runs every clip into OUT/<clip>, and writes OUT/index.html and OUT/batch.json after each.

    Clips that are finished with the same settings are not touched, the others continue where they were; a clip that
    fails does not stop the others. `settings` gives those of a clip (`settings_of_clip`). `method` names our row in
    tables with published figures. `wrapped` may put something around the work of a clip. Raises `InputError` before
    any work when OUT holds runs of other settings and `overwrite` is not set, or another batch works there.
    """
    folder = BatchFolder(Path(output))
    clips = {clip.name: clip for clip in found.clips}
    chosen = {name: settings(clip) for name, clip in clips.items()}
    for name, clip in clips.items():
        if clip.dataset is not None and chosen[name].annotations is None:
            chosen[name] = _replaced(chosen[name], {"annotations": str(folder.annotations(clip))})
    if not overwrite:
        _refuse_other_settings(folder, clips, chosen)
    # not the folder itself: every clip in it is locked by the process that works on it
    with only_process(folder.path / ".batch" / "batch", shown=folder.path):
        recover_files(folder.path)
        files = OutcomeFiles(folder.outcomes, resume=not overwrite)
        known = set() if overwrite else _forget_outdated(files, folder, clips, chosen)
        page = IndexPage(folder, found, chosen)
        outcomes: dict[str, Outcome] = {}
        result = BatchResult(folder, outcomes, notes=found.notes)
        started = time.strftime("%Y-%m-%dT%H:%M:%S%z")

        def write() -> None:
            result.tables = _tables(found.dataset, chosen, outcomes, folder, method)
            page.write(outcomes, result.tables)
            write_json(folder.record, _record(found, outcomes, started))

        def done(outcome: Outcome) -> None:
            outcomes[outcome.item] = outcome
            if outcome.item not in known:
                write()
            if watcher is not None:
                watcher.done(outcome, was_known=outcome.item in known)

        if watcher is not None:
            watcher.begin(found.clips, folder)
        write()
        work = wrapped(ClipWork(clips, chosen, folder, overwrite))
        in_order = for_each(list(clips), work, engine(folder), files=files, done=done)
        outcomes.clear()
        outcomes |= in_order
        write()
    return result


def settings_of_clip(clip: Clip, shared: RunSettings) -> RunSettings:
    """The `shared` settings for one clip, with its own. Folders of masks and annotations of all clips hold a folder per
    clip."""
    own: dict[str, Any] = {"input": clip.input}
    for name in ("masks", "annotations"):
        given = getattr(shared, name)
        if given is not None:
            own[name] = str(Path(given) / clip.folder_name)
    if clip.annotations is not None and "annotations" not in own:
        own["annotations"] = clip.annotations
    return _replaced(shared, {**own, **clip.settings})


def _replaced(settings: RunSettings, changes: Mapping[str, Any]) -> RunSettings:
    return RunSettings.from_dict({**settings.to_dict(), **changes})


def _refuse_other_settings(folder: BatchFolder, clips: Mapping[str, Clip], chosen: Mapping[str, RunSettings]) -> None:
    for name, clip in clips.items():
        path = folder.run(clip)
        if not (path / "run.json").exists():
            continue
        try:
            different = chosen[name].differences(open_run(path).settings)
        except InputError:
            continue  # a damaged record is the failure of this clip alone
        if different:
            raise InputError(
                f"{path} was begun with another value of {', '.join(different)}; give the options of before, another "
                "output folder, or --overwrite to start over."
            )


def _forget_outdated(
    files: OutcomeFiles, folder: BatchFolder, clips: Mapping[str, Clip], chosen: Mapping[str, RunSettings]
) -> set[str]:
    """The clips that are finished; outcomes of other settings, or whose files are gone, are forgotten."""
    finished = set()
    for name, clip in clips.items():
        outcome = files.finished(name)
        if outcome is None:
            continue
        there = all((folder.run(clip) / file).exists() for file in ("metrics.json", "report.html"))
        if there and outcome.value.get("settings") == comparable(chosen[name]):
            finished.add(name)
        else:
            files.path(name).unlink()
    return finished


def _tables(
    dataset: str | None,
    settings: Mapping[str, RunSettings],
    outcomes: Mapping[str, Outcome],
    folder: BatchFolder,
    method: str,
) -> str:
    if not all(one.protocol == "das3r" for one in settings.values()):
        return ""
    values = {name: outcome.value for name, outcome in outcomes.items() if outcome.failure is None}
    deviations = {word for one in settings.values() for word in one.protocol_deviations()}
    tables = psnr_tables(dataset, values, method, deviations=sorted(deviations))
    return write_tables(folder.path, "psnr", tables) if tables else ""


def _record(found: FoundClips, outcomes: Mapping[str, Outcome], started: str) -> dict[str, Any]:
    def entry(clip: Clip) -> dict[str, Any]:
        outcome = outcomes.get(clip.name)
        if outcome is None:
            return {"input": clip.input, "state": "not finished"}
        if outcome.failure is not None:
            return {"input": clip.input, "state": "failed", "reason": outcome.failure}
        return {"input": clip.input, "state": "done", "folder": clip.folder_name, **outcome.value}

    return {
        "schema_version": RECORD_SCHEMA,
        "code": code_version(),
        "started": started,
        "dataset": found.dataset,
        "notes": found.notes,
        "clips": {clip.name: entry(clip) for clip in found.clips},
    }

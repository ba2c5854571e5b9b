"""`stillsplat run` for any clip: as one run, or where it has cuts as a run for each shot, with one page about all.

OUT/shot-01, OUT/shot-02 ...   a whole run each, as of a clip without cuts
OUT/report.html                all shots, with links
OUT/run.json, metrics.json     which shots there are, and how far they are; their sums
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.evaluation.distribution import Outcome
from scene.errors import InputError
from scene.files.json_files import read_json, write_json
from scene.files.locking import only_process
from scene.progress import Progress, ignore_progress
from stillsplat.batch.clips import Clip, FoundClips
from stillsplat.batch.folder import BatchFolder, findings
from stillsplat.batch.index_page import IndexPage
from stillsplat.reconstruct import Reconstruction, reconstruct
from stillsplat.run_folder import RECORD, RunFolder, begin, code_version
from stillsplat.settings import RunSettings
from stillsplat.shot_folders import spans_of

if TYPE_CHECKING:
    from gaussian.trainer import Watch


class _ShotsFolder(BatchFolder):
    @property
    def index(self) -> Path:
        return self.path / "report.html"


def reconstruct_clip(
    settings: RunSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    watch: "Watch | None" = None,
) -> Reconstruction:
    """As `reconstruct`, also for clips with cuts: then the result has `shots`, and its metrics are their sums. A shot
    that cannot be used does not stop the others. Raises `InputError` where none can."""
    output = Path(output)
    rest = {"progress": progress, "warn": warn, "watch": watch}
    with only_process(output, nested=True):
        if resume and _shots_of(output):
            folder, clip = begin(output, settings, resume=True), None
            for sentence in folder.record.get("warnings", []):
                warn(str(sentence))
        else:
            try:
                return reconstruct(settings, output, resume=resume, overwrite=overwrite, **rest)
            except SeveralShots as several:
                folder, clip = several.folder, several.workspace
                assert isinstance(folder, RunFolder)
                warn(cuts_sentence(settings.input, several.found))
                folder.record["warnings"] = [cuts_sentence(settings.input, several.found)]
                folder.finish("shots", 0.0, shots=spans_of(several.found))
        try:
            return _run_each(folder, settings, clip, rest)
        finally:
            folder.clean_up()


def _shots_of(output: Path) -> bool:
    path = output / RECORD
    stages = read_json(path).get("stages") if path.is_file() else None
    return isinstance(stages, dict) and "shots" in stages


def _run_each(
    folder: RunFolder, settings: RunSettings, clip: StreamWorkspace | None, rest: Mapping[str, Any]
) -> Reconstruction:
    entries: list[dict[str, Any]] = folder.record["stages"]["shots"]["shots"]
    names = {str(entry["folder"]): int(entry["shot"]) for entry in entries}
    clips = [
        Clip(entry["folder"], f"{settings.input}, frames {entry['first']} to {entry['last']}") for entry in entries
    ]
    chosen = {name: replace(settings, shot=str(number)) for name, number in names.items()}
    notes = [str(sentence) for sentence in folder.record.get("warnings", [])]
    page = IndexPage(_ShotsFolder(folder.path), FoundClips(clips, notes=notes), chosen)
    outcomes: dict[str, Outcome] = {}
    done: list[Reconstruction] = []
    started = time.monotonic()
    for name in names:
        begun = (folder.path / name / RECORD).is_file()
        try:
            result = reconstruct(chosen[name], folder.path / name, resume=begun, clip=clip, **rest)
        except InputError as error:
            outcomes[name] = Outcome(name, failure=str(error), is_input_error=True)
            rest["warn"](f"{name} failed: {error}")
        else:
            done.append(result)
            outcomes[name] = Outcome(name, {**findings(result.metrics), "warnings": result.warnings})
        page.write(outcomes)
    if not done:
        raise InputError(f"None of the {len(names)} shots could be used: {next(iter(outcomes.values())).failure}")
    failures = {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure is not None}
    folder.finish("shots", time.monotonic() - started, shots=entries, failures=failures)
    metrics = _sums(settings, done, failures)
    write_json(folder.metrics, metrics)
    warnings = [*notes, *(f"{name} failed: {reason}" for name, reason in failures.items())]
    return Reconstruction(folder, metrics, warnings, done)


def _sums(settings: RunSettings, shots: list[Reconstruction], failures: Mapping[str, str]) -> dict[str, Any]:
    """What metrics.json says of all shots: their own have the scores."""
    seconds: dict[str, float] = {}
    for shot in shots:
        for stage, value in shot.metrics["seconds"].items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return {
        "schema_version": 1,
        "code": code_version(),
        "protocol": settings.protocol,
        "scores": {},
        "notes": [f"{name} failed: {reason}" for name, reason in failures.items()],
        "shots": [shot.folder.path.name for shot in shots],
        "frames": sum(shot.metrics["frames"] for shot in shots),
        "size": shots[0].metrics["size"],
        "gaussians": sum(shot.metrics["gaussians"] for shot in shots),
        "seconds": seconds,
        "peak_memory_bytes": max(shot.metrics["peak_memory_bytes"] for shot in shots),
    }

"""The stage "plate" of a run, while it goes on or afterwards."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.locking import only_process
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat.plate.settings import PlateSettings
from stillsplat.run_folder import RunFolder, open_run

STAGE = "plate"


def make_plate_of(
    folder: RunFolder,
    settings: PlateSettings,
    scene: Scene,
    seed: int,
    progress: Progress,
    warn: Callable[[str], None],
) -> None:
    """The stage of a running run; what is finished with the same settings stays. Where the plate cannot be made, the
    run goes on without it, and `warn` is told why."""
    made = folder.record["stages"].get(STAGE, {})
    same = made.get("fill") == settings.plate_fill and made.get("start") == settings.plate_start
    if same and settings.plate_format in (None, made.get("format")) and (folder.path / "plate").is_dir():
        return
    folder.forget(STAGE)
    try:
        _make(folder, settings, None, scene, seed, progress, warn)
    except InputError as error:
        reason = str(error).rstrip(".")
        warn(f"There is no plate: {reason}. stillsplat plate {folder.path} makes it later.")


def plate(
    output: str | Path,
    settings: PlateSettings,
    *,
    source: str | Path | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Makes the plate of the finished run in `output` and updates its report. Returns what run.json records. Raises
    `InputError` as `stillsplat.plate.stage.make_plate` does, and for a run that is not finished."""
    with only_process(Path(output)):
        folder = open_run(Path(output))
        for stage in ("scene", "optimize", "render"):
            if not folder.finished(stage):
                raise InputError(f"The run in {output} is not finished; resume it first (stillsplat run ... --resume).")
        found = _make(folder, settings, source, None, int(folder.settings.seed), progress, warn)
        if folder.finished("report"):
            from stillsplat.report import write_report

            write_report(folder, progress=progress)
        return found


def _make(
    folder: RunFolder,
    settings: PlateSettings,
    source: str | Path | None,
    scene: Scene | None,
    seed: int,
    progress: Progress,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    from stillsplat.plate.stage import make_plate

    begin = time.perf_counter()
    found = make_plate(folder, settings, source=source, scene=scene, seed=seed, progress=progress, warn=warn)
    folder.finish(STAGE, time.perf_counter() - begin, **found)
    return found

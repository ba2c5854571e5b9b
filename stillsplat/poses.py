"""From a video, a folder or a camera to poses, depth and points in one world, for clips of any length.

During the run, all files are in OUT.part, which is renamed to OUT at the end.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_predictor.contract import Predictor
from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import DrivenScene, SceneDriver
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence
from dynamic_predictor.driver.source_names import is_live
from dynamic_predictor.driver.sources import FrameSource
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.files.atomic import atomic_file, put_folder_in_place
from scene.files.json_files import read_json, write_json
from scene.files.locking import only_process
from scene.files.output_place import check_output_folder
from scene.files.recovery import recover
from scene.folder import save_scene
from scene.formats.registry import export
from scene.formats.registry import formats as all_formats
from scene.open_scene import can_open, is_scene
from scene.progress import Progress, ignore_progress
from stillsplat.predict import is_ours
from stillsplat.scene_exports import checked_formats
from stillsplat.settings import PosesSettings
from stillsplat.shot_folders import RECORD as SHOTS
from stillsplat.shot_folders import holds_shots, spans_of

if TYPE_CHECKING:
    from stillsplat.live_view import LiveView

#: settings that do not affect the results of a stopped run
_FREE_ON_RESUME = {"export", "export_options", "loop", "device", "live_policy"}


def extract_poses(
    settings: PosesSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    source: FrameSource | None = None,
    predictor: Predictor | None = None,
    view: "LiveView | None" = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Writes the folder `output`: a scene with scene.glb, camera_poses.glb, points.ply, transforms.json, poses.npz and
    path.png, and what `export` names. Of a clip with cuts, each shot has such a folder, OUTPUT/shot-01 and so on.

    `source` and `predictor` replace those that the settings name. `view` shows what is found meanwhile. Raises
    `InputError` when `output` or an unfinished OUT.part exists and neither `resume` nor `overwrite` is given, and while
    another process works on it.
    """
    output = Path(output)
    rest = {"resume": resume, "overwrite": overwrite, "source": source, "predictor": predictor, "view": view}
    rest |= {"progress": progress, "warn": warn}
    if not (resume and holds_shots(_part(output))):
        try:
            return _extract_one(settings, output, **rest)
        except SeveralShots as several:
            if source is not None:
                raise
            entries = spans_of(several.found)
            warn(cuts_sentence(settings.input, several.found))
            part = _part(output)
            shutil.rmtree(part)
            part.mkdir()
            record = {"settings": _fixed_settings(settings), "replaces": overwrite, "shots": entries}
            write_json(part / SHOTS, {"schema_version": 1, **record})
    with only_process(output):
        return _extract_each(settings, output, **{**rest, "overwrite": False})


def _extract_each(settings: PosesSettings, output: Path, *, warn: Callable[[str], None], **rest: Any) -> Path:
    """The shots of a clip in OUT.part, which holds their record, and becomes OUT at the end."""
    part = _part(output)
    record = read_json(part / SHOTS)
    if record.get("settings") != json.loads(json.dumps(_fixed_settings(settings))):
        raise InputError(f"{part} was begun with other settings; repeat it as it was, or start again with --overwrite.")
    if output.exists() and record.get("replaces") is not True:
        check_output_folder(output, holds="results", is_ours=is_ours, overwrite=False)
    entries = record["shots"]
    for entry in entries:
        folder = part / entry["folder"]
        if is_scene(folder):
            continue
        chosen = replace(settings, shot=str(entry["shot"]))
        try:
            _extract_one(chosen, folder, warn=warn, **{**rest, "resume": _part(folder).exists()})
        except InputError as error:
            entry["failure"] = str(error)
            warn(f"Shot {entry['shot']} is left out: {error}")
            shutil.rmtree(_part(folder), ignore_errors=True)
    if all("failure" in entry for entry in entries):
        raise InputError(f"None of the {len(entries)} shots can be used: {entries[0]['failure']}")
    write_json(part / SHOTS, {"schema_version": 1, "shots": entries})
    put_folder_in_place(part, output)
    return output


def _part(output: Path) -> Path:
    return output.with_name(output.name + ".part")


def _extract_one(
    settings: PosesSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    source: FrameSource | None = None,
    predictor: Predictor | None = None,
    view: "LiveView | None" = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """As `extract_poses`, of a clip without cuts or of one shot."""
    output = Path(output)
    part = _part(output)
    if can_open(settings.input) and source is None:
        raise InputError(
            f"{settings.input} is a scene already; give the clip that it was made of, or use stillsplat run."
        )
    if settings.live_policy is not None and source is None and not is_live(settings.input):
        raise InputError(f"--live-policy is for live sources, which {settings.input} is not; leave it out.")
    check_options(settings, in_chunks=True)
    formats = [row.name for row in all_formats().values() if row.for_camera_paths]
    formats += checked_formats(settings, in_chunks=True)
    with only_process(output):
        _check_place(output, part, resume, overwrite)
        began = resume and (part / "stream.json").exists()
        driver = SceneDriver(
            settings,
            predictor=predictor,
            progress=progress if view is None else view.progress(progress),
            warn=warn,
        )
        if view is not None:
            view.attach(driver.predictor)
        if source is None and not began:  # refused before anything is made
            source = driver.open_source()
        notes = {"replaces": overwrite}
        workspace = StreamWorkspace(part, _fixed_settings(settings), resume=began, notes=notes)
        try:
            driven = driver.scene(
                workspace,
                source=source,
                stream=settings.stream(),
                descriptor_for_loops=True,
                accept_damaged=True,
                on_prediction=None if view is None else view.on_prediction,
            )
        except InputError:
            if not began and len(workspace) < 2:  # nothing was made that would be worth resuming
                shutil.rmtree(part, ignore_errors=True)
            raise
        made = part / "result"
        driven.scene.provenance["settings"] = asdict(settings)
        save_scene(driven.scene, made, overwrite=True, progress=progress)
        export(driven.scene, made, list(dict.fromkeys(formats)), settings.export_options, progress=progress)
        _draw_path(driven, made / "path.png")
        if view is not None:
            view.show_result(driven.scene, progress)
        workspace.note("finished", True)
        put_folder_in_place(made, output)
        shutil.rmtree(part, ignore_errors=True)
    return output


def live_sentence(output: Path) -> str | None:
    """How fast the live source of the finished scene `output` was followed; None for other sources."""
    provenance = read_json(output / "scene.json").get("provenance") or {}
    live = provenance.get("live")
    if not isinstance(live, dict):
        return None
    dropped = live["dropped"]
    sentence = f"{dropped} image{'s were' if dropped != 1 else ' was'} dropped (--live-policy {live['policy']})"
    latency = live["latency_seconds"]
    if latency is None:
        return f"{sentence}."
    return (
        f"{sentence}; from capture to result took {latency['median']:.2f} s (median of {live['frames']} frames), "
        f"{latency['percentile_95']:.2f} s at 95 %."
    )


def _draw_path(driven: DrivenScene, path: Path) -> None:
    """The path from above, before and after loops were closed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    stream = driven.stream
    assert stream is not None
    # loops are counted in the frames that were predicted
    closed = np.stack([camera.center for camera in scene_of_stream(stream).cameras])
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    if stream.loops:
        chained = np.stack([camera.center for camera in scene_of_stream(stream, closed=False).cameras])
        axes.plot(chained[:, 0], chained[:, 2], color="#9a9a9a", linewidth=1, label="before loops were closed")
    axes.plot(closed[:, 0], closed[:, 2], color="#d9663b", linewidth=1.6, label="path of the camera")
    axes.plot(*closed[0, [0, 2]], "o", color="#2b2b2b", markersize=5, label="start")
    for loop in stream.loops:
        if loop.accepted:
            ends = closed[[loop.later_frames[0], loop.earlier_frames[0]]]
            axes.plot(ends[:, 0], ends[:, 2], color="#3b7dd9", linewidth=0.8)
    unit = "m" if stream.is_metric else "scene units"
    axes.set(xlabel=f"x, {unit}", ylabel=f"z, {unit}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title("The camera's path from above", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.2)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _check_place(output: Path, part: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume continues what is there and --overwrite throws it away; give only one of them.")
    recover(part)
    record = read_json(part / "stream.json") if (part / "stream.json").is_file() else {}
    if record.get("finished") is True and not (part / "result").exists():
        shutil.rmtree(part, ignore_errors=True)  # it was finished, and its process killed while it cleaned up
        record = {}
    if part.is_dir() and not any(part.iterdir()):
        part.rmdir()  # its process was killed before it wrote anything
    remedy = "it is finished" if resume else "add --overwrite or choose another place"
    replaces = overwrite or (resume and record.get("replaces") is True)
    check_output_folder(output, holds="a scene", is_ours=is_ours, overwrite=replaces, remedy=remedy)
    if part.exists() and not (resume or overwrite):
        raise InputError(f"An unfinished run is in {part}; add --resume to continue it or --overwrite to begin anew.")
    if part.exists() and not any((part / name).exists() for name in ("stream.json", SHOTS)) and any(part.iterdir()):
        raise InputError(f"{part} was not made by this command and is left alone; choose another output.")
    if part.exists() and overwrite:
        shutil.rmtree(part)


def _fixed_settings(settings: PosesSettings) -> dict[str, object]:
    """The settings that a resumed run must share with the one that it continues."""
    values = json.loads(json.dumps(asdict(settings)))  # tuples become lists, as in the file
    fixed = {key: value for key, value in values.items() if key not in _FREE_ON_RESUME}
    return {**fixed, **fixed.pop("predictor_options"), "predictor": settings.spec.name}

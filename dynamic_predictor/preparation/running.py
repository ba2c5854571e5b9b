"""Prepares the scenes of a raw download in parallel; an interrupted run goes on where it was.

Every scene is written beside its place and renamed when it is complete; then a record of it is written into the hidden
folder `.prepared`. Scenes with a record are not prepared again. Lists over all scenes are made from the records.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from dynamic_predictor.preparation.frames import RawFrame
from dynamic_predictor.preparation.overlaps import coarse_view, overlap_pairs
from dynamic_predictor.preparation.writing import stored_intrinsics, write_frame
from dynamic_predictor.training.datasets.spec import TrainingSetSpec
from dynamic_predictor.training.datasets.table import training_set_spec
from scene.errors import InputError, first_line
from scene.files.arrays import read_entries
from scene.files.atomic import atomic_file, atomic_folder, writing_error
from scene.files.json_files import read_json, write_json
from scene.files.locking import only_process
from scene.frames import natural_order
from scene.progress import Progress, ignore_progress

_RECORDS = ".prepared"


@dataclass(frozen=True)
class SceneRecord:
    """What lists over all scenes need to know of one: names of its frames, and pairs (first, second, overlap) of
    their numbers, (N, 3)."""

    scene: str
    frames: list[str]
    pairs: np.ndarray


@dataclass(frozen=True)
class Preparation:
    """How one raw download is read.

    `list_scenes` gives the names of the scenes, which are their folders in the processed layout; `read_scene` the
    frames of one; `finish`, if any, writes the lists of the set from the records. `structure` describes the raw folder.
    """

    structure: str
    list_scenes: Callable[[Path], list[str]]
    read_scene: Callable[[Path, str], Iterable[RawFrame]]
    finish: Callable[[Path, Path, Sequence[SceneRecord]], None] | None = None
    #: what the scene's metadata append to the names of frames
    listed_suffix: str = ""


@dataclass
class PreparationResult:
    """Names of scenes: prepared now, prepared before, and failed with one sentence each."""

    done: list[str] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def prepare_set(
    name: str,
    preparation: Preparation,
    raw: Path,
    out: Path,
    *,
    jobs: int = 1,
    scenes: Sequence[str] | None = None,
    progress: Progress = ignore_progress,
) -> PreparationResult:
    """Prepares `scenes` (default: all) of the set `name` from `raw` into `out` with `jobs` processes.

    A scene that cannot be prepared leaves nothing behind and is listed in the result. Raises `InputError` when there is
    nothing to prepare, for unknown scenes, and when `out` cannot be written to.
    """
    if not raw.is_dir():
        raise InputError(f"{raw} does not exist; name the folder with the raw download.")
    if raw.resolve() == out.resolve():
        raise InputError(f"{raw} cannot be prepared into itself; name another folder for the prepared set.")
    listed = sorted(preparation.list_scenes(raw), key=natural_order)
    unknown = [scene for scene in scenes or () if scene not in listed]
    if unknown:
        raise InputError(f"{raw} has no scene {unknown[0]}; it has {', '.join(listed[:5])} and {len(listed)} in all.")
    if not listed:
        raise InputError(f"{raw} holds nothing to prepare; expected is {preparation.structure}.")
    wanted = list(scenes) if scenes else listed
    result = PreparationResult()
    with only_process(out / _RECORDS):
        result.earlier = [scene for scene in wanted if _record_path(out, scene).is_file()]
        work = partial(_prepare_scene, name, preparation, raw, out)
        missing = [scene for scene in wanted if scene not in result.earlier]
        progress(f"prepare {name} (scenes)", len(result.earlier), len(wanted))
        for scene, error in _run(work, missing, jobs):
            if error is None:
                result.done.append(scene)
            else:
                result.failed[scene] = error
            finished = len(result.done) + len(result.failed)
            progress(f"prepare {name} (scenes)", len(result.earlier) + finished, len(wanted))
        if preparation.finish is not None:
            records = [_read_record(out, scene) for scene in listed if _record_path(out, scene).is_file()]
            try:
                preparation.finish(raw, out, records)
            except OSError as error:
                raise writing_error(out, error) from error
    return result


def _run(work: Callable[[str], str | None], scenes: Sequence[str], jobs: int) -> Iterable[tuple[str, str | None]]:
    """Each scene with its error, in the order in which they are done."""
    if jobs <= 1 or len(scenes) <= 1:
        for scene in scenes:
            yield scene, work(scene)
        return
    # forked processes would inherit the locks of OpenCV's threads
    pool = ProcessPoolExecutor(min(jobs, len(scenes)), mp_context=get_context("spawn"))
    try:
        running: dict[Future[str | None], str] = {pool.submit(work, scene): scene for scene in scenes}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), _error_of(future)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _error_of(future: "Future[str | None]") -> str | None:
    error = future.exception()
    return future.result() if error is None else f"its process ended: {first_line(error)}"  # type: ignore[arg-type]


def _prepare_scene(name: str, preparation: Preparation, raw: Path, out: Path, scene: str) -> str | None:
    """Prepares one scene; returns what is wrong with it, or None."""
    spec, folder = training_set_spec(name), out / scene
    _remove_unfinished(folder)
    try:
        with atomic_folder(folder, overwrite=True) as temporary:
            record = _write_scene(spec, preparation, raw, scene, temporary)
        _write_record(out, record)
    except InputError as error:
        return str(error)
    except Exception as error:  # one damaged scene must not end the run
        return f"{type(error).__name__}: {first_line(error)}"
    return None


def _write_scene(spec: TrainingSetSpec, preparation: Preparation, raw: Path, scene: str, folder: Path) -> SceneRecord:
    names, poses, intrinsics, views = [], [], [], []
    for frame in preparation.read_scene(raw, scene):
        write_frame(spec, folder, frame)
        names.append(frame.name)
        poses.append(frame.world_from_camera)
        intrinsics.append(stored_intrinsics(spec.cameras, frame))
        if spec.overlap is not None:
            views.append(coarse_view(frame))
    if not names:
        raise InputError(f"{raw} has no frame of {scene} with image, depth and camera.")
    pairs = overlap_pairs(views)
    if spec.scenes.metadata:
        entries: dict[str, Any] = {"images": np.array([f"{frame}{preparation.listed_suffix}" for frame in names])}
        if not spec.cameras.path:
            entries |= {str(spec.cameras.pose): np.stack(poses), spec.cameras.intrinsics: np.stack(intrinsics)}
        if spec.overlap is not None:
            entries["pairs"] = pairs
        np.savez(folder / spec.scenes.metadata, **entries)
    return SceneRecord(scene, names, pairs)


def _remove_unfinished(folder: Path) -> None:
    """What a killed run has left beside the place of a scene."""
    if folder.parent.is_dir():
        for path in folder.parent.iterdir():
            if path.name.startswith(f".{folder.name[:64]}-") and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _record_path(out: Path, scene: str) -> Path:
    return out / _RECORDS / f"{quote(scene, safe='')}.json"


def _write_record(out: Path, record: SceneRecord) -> None:
    path = _record_path(out, record.scene)
    with atomic_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
        np.savez(stream, pairs=record.pairs)
    write_json(path, {"scene": record.scene, "frames": record.frames})


def _read_record(out: Path, scene: str) -> SceneRecord:
    path = _record_path(out, scene)
    pairs = read_entries(path.with_suffix(".npz"), ["pairs"])["pairs"]
    return SceneRecord(scene, [str(name) for name in read_json(path)["frames"]], pairs)

"""The complete reconstruction in one call: from a video to static Gaussians, renders, scores and a report."""

import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.shots import SeveralShots
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.camera_files import read_cameras
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import write_json
from scene.files.locking import only_process
from scene.folder import is_scene, load_scene, predicted_masks, replace_cameras, replace_masks, save_scene
from scene.formats.exportable import Exportable
from scene.formats.registry import export
from scene.frames import Frames
from scene.given_masks.opening import check_masks, open_masks
from scene.images import read_image, write_png
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress, say_progress
from scene.scene import Scene
from scene.video import frame_rate, write_video
from stillsplat import run_folder
from stillsplat.estimate import estimated_time
from stillsplat.plate.of_run import make_plate_of
from stillsplat.predict import make_scene
from stillsplat.run_folder import RunFolder
from stillsplat.scene_exports import (
    checked_formats,
    export_prediction,
    export_settings,
    length_check,
    of_the_prediction,
)
from stillsplat.settings import RunSettings

if TYPE_CHECKING:
    from gaussian.trainer import Watch

STAGES = ("scene", *run_folder.AFTER_SCENE)
_REFINED = "Refined together with the Gaussians by stillsplat run."
_SECOND_PASS = "Refined by stillsplat run, from what a draft of the static scene does not explain."


@dataclass
class Reconstruction:
    """The result of a run: its output folder, and its record and scores as in run.json and metrics.json."""

    folder: RunFolder
    metrics: dict[str, Any]
    #: warnings for the user: fallbacks of the predictor, damaged input, missing scores
    warnings: list[str]
    #: of a clip with cuts, the runs of its shots (`stillsplat.shots`)
    shots: "list[Reconstruction]" = field(default_factory=list)


def reconstruct(
    settings: RunSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    watch: "Watch | None" = None,
    clip: StreamWorkspace | None = None,
) -> Reconstruction:
    """Makes everything that `stillsplat run` promises in the folder `output`.

    Works in stages (scene, masks, optimize, render, export, plate, score, report). Each writes its files whole and is
    then recorded, so that with `resume` a stopped run continues where it was, inside the optimization from its last
    checkpoint. When no stage is finished, nothing is left. `warn` receives sentences as they come up; `watch` shows the
    optimization (`gaussian.trainer.train`).

    `clip` has the frames of the input, where they are read already. Raises `InputError` for all errors that a user can
    correct, and `SeveralShots` for a clip with cuts of which no shot was chosen (`stillsplat.shots` runs all);
    KeyboardInterrupt passes through after clean-up.
    """
    check_options(settings)
    check_masks("--annotations", settings.annotations)
    checked_formats(settings, optimized=True)
    settings = settings.resolved()
    with only_process(Path(output), nested=True):
        folder = run_folder.begin(Path(output), settings, resume=resume, overwrite=overwrite)
        kept = False
        try:
            return _run(folder, settings, progress, warn, watch, clip)
        except SeveralShots as several:
            # the frames are in the folder, which is cleaned up by who goes on with them
            several.folder, kept = folder, True
            raise
        except InputError as error:
            if not folder.any_finished():
                raise
            there = f"what was finished is in {folder.path}, --resume continues from it"
            raise InputError(f"{str(error).rstrip('.')}; {there}.") from error
        finally:
            if not kept:
                folder.clean_up()


def _run(
    folder: RunFolder,
    settings: RunSettings,
    progress: Progress,
    warn: Callable[[str], None],
    watch: "Watch | None" = None,
    clip: StreamWorkspace | None = None,
) -> Reconstruction:
    warnings: list[str] = [str(item) for item in folder.record.get("warnings", [])]

    def collect_warning(sentence: str) -> None:
        if sentence not in warnings:
            warnings.append(sentence)
            folder.record["warnings"] = warnings
            warn(sentence)

    if not folder.finished("scene"):
        folder.forget(*STAGES)
        with _timed() as clock:
            exported = _make_scene(settings, folder, progress, collect_warning, clip)
        folder.finish("scene", clock(), peak_memory_bytes=peak_memory_bytes(), exported=exported)
        gc.collect()
    scene = load_scene(folder.scene)
    folder.check_frames(len(scene.frames))
    annotations = None
    if settings.annotations is not None:
        annotations = open_annotations(settings.annotations, settings, scene)
    begun = folder.finished("optimize") or (folder.model / "checkpoint.pt").exists()
    if not folder.finished("masks") and not begun:
        with _timed() as clock:
            refined = _refine_masks(scene, settings, folder, progress)
        folder.finish("masks", clock(), peak_memory_bytes=peak_memory_bytes(), refined=refined)
        gc.collect()
        if refined:
            scene = load_scene(folder.scene)
    if not folder.finished("optimize"):
        before = folder.scene / "cameras_predicted.json"
        if before.exists():  # an optimization that goes on after the cameras were refined starts from those of before
            scene.cameras = read_cameras(before, scene.frames.names, scene.frames.width, scene.frames.height)
        with _timed() as clock:
            findings = _optimize(scene, settings, folder, annotations, progress, watch)
        folder.finish("optimize", clock(), peak_memory_bytes=peak_memory_bytes(), **findings)
        gc.collect()
    if not folder.finished("render"):
        with _timed() as clock:
            from gaussian.model_folder import load_model

            model = load_model(folder.model)
            # only now: a checkpoint belongs to the scene with the cameras of the predictor
            if not settings.fixed_cameras:
                replace_cameras(folder.scene, model.cameras, _REFINED, scene=scene)
            scene.cameras = list(model.cameras)
            visibility = _render(scene, model, settings, folder, progress)
        folder.finish("render", clock(), peak_memory_bytes=peak_memory_bytes(), visibility=visibility)
    if settings.export is not None:
        with _timed() as clock:
            _export(scene, settings, folder, progress)
        folder.finish("export", clock())
    if settings.plate:
        make_plate_of(folder, settings.plate_settings(), scene, settings.seed, progress, collect_warning)
    with _timed() as clock:
        metrics = _score(scene, settings, folder, annotations, progress, collect_warning)
    folder.finish("score", clock())
    metrics["seconds"] = {name: stage["seconds"] for name, stage in folder.record["stages"].items()}
    metrics["peak_memory_bytes"] = max(
        int(stage.get("peak_memory_bytes", 0)) for stage in folder.record["stages"].values()
    )
    write_json(folder.metrics, metrics)
    with _timed() as clock:
        from stillsplat.report import write_report

        write_report(folder, scene=scene, progress=progress)
    folder.finish("report", clock())
    return Reconstruction(folder, metrics, warnings)


def _make_scene(
    settings: RunSettings,
    folder: RunFolder,
    progress: Progress,
    warn: Callable[[str], None],
    clip: StreamWorkspace | None,
) -> list[str]:
    """Saves the scene; returns the names of the exports that were written from the prediction."""
    formats = checked_formats(settings, optimized=True)
    check_length = length_check(settings, formats, optimized=True)

    def check(frames: Frames, positions: Sequence[int], source_size: tuple[int, int]) -> None:
        check_length(frames)
        say_progress(progress, estimated_time(frames, source_size, settings))
        if settings.annotations is not None:
            open_masks(settings.annotations, frames, positions=positions if settings.selects_frames else None)

    wanted = export_settings(settings, formats, optimized=True)
    driven = make_scene(settings, folder.working, progress, warn, check=check, clip=clip, **wanted)
    # a process that was killed may have saved it and not said so
    save_scene(driven.scene, folder.scene, overwrite=True, progress=progress)
    rest = export_prediction(driven, folder.exports, formats, settings, progress, optimized=True)
    return [name for name in formats if name not in rest]


def _refine_masks(scene: Scene, settings: RunSettings, folder: RunFolder, progress: Progress) -> bool:
    """The second pass over the motion masks; whether there are new ones, which are in the folder then."""
    # masks that a user gives, or has in a scene and may have mended, are taken as they are
    if settings.masks is not None or is_scene(settings.input) or not settings.second_pass:
        return False
    from stillsplat.second_pass.refinement import refine_masks

    # after a kill, the masks of the scene may be refined already
    predicted = predicted_masks(folder.scene, scene)
    refined = refine_masks(replace(scene, motion_masks=predicted), settings.optimization(), progress)
    if refined is None:
        return False
    masks = {index: refined.masks[index] for index in refined.frames}
    replace_masks(folder.scene, masks, _SECOND_PASS, keep_predicted=True)
    return True


def peak_memory_bytes() -> int:
    """The most memory that this process, or one that it started, has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) * unit


def open_annotations(given: str | Path, settings: RunSettings, scene: Scene) -> FrameMaps:
    """The true masks in the folder `given` of the frames of a run, one per frame or one per frame of its input."""
    recorded = scene.provenance.get("source_frames")
    chosen = settings.selects_frames and isinstance(recorded, list)
    return open_masks(given, scene.frames, positions=recorded if chosen else None)


def _optimize(
    scene: Scene,
    settings: RunSettings,
    folder: RunFolder,
    annotations: FrameMaps | None,
    progress: Progress,
    watch: "Watch | None",
) -> dict[str, Any]:
    from gaussian.model_folder import write_viewer_files
    from gaussian.trainer import train
    from scene.formats.splat_ply import save_ply

    result = train(
        scene,
        settings.optimization(),
        folder.model,
        annotations=annotations,
        progress=progress,
        resume=(folder.model / "checkpoint.pt").exists(),
        watch=watch,
    )
    save_ply(folder.splats, result.gaussians, sh_degree=0)
    write_viewer_files(folder.model, folder.scene)
    return {
        "gaussians": len(result.gaussians),
        "test_frames": list(result.test_frames),
        "test_cameras": result.test_cameras,
        "test_exposures": result.test_metrics.get("exposures"),
        "history": result.history,
        "settings": result.settings.to_dict(),
    }


def _export(scene: Scene, settings: RunSettings, folder: RunFolder, progress: Progress) -> None:
    from gaussian.model_folder import load_model

    formats = checked_formats(settings, optimized=True)
    of_prediction = of_the_prediction(formats, optimized=True)
    missing = [name for name in of_prediction if name not in folder.record["stages"]["scene"].get("exported", [])]
    if missing:
        raise InputError(
            f"{', '.join(missing)} can only be written while the clip is predicted, which is finished; leave it out, "
            "or start over with --overwrite."
        )
    rest = [name for name in formats if name not in of_prediction]
    if rest:
        source = Exportable.of_scene(scene, gaussians=load_model(folder.model).gaussians)
        export(source, folder.exports, rest, settings.export_options, progress=progress)


def _render(scene: Scene, model: Any, settings: RunSettings, folder: RunFolder, progress: Progress) -> dict[str, Any]:
    """Writes renders, videos and what was never seen; returns the figures of the latter."""
    from gaussian.rasterize import usable_device
    from scene import splat_rendering
    from stillsplat.overlays import comparison
    from stillsplat.report.material import compared_frames, shown_frames
    from stillsplat.visibility import coarse_view, write_visibility

    renderer = splat_rendering.Renderer(model.gaussians, device=usable_device(settings.device))
    count = len(scene.frames)
    paths = [folder.renders / f"{index:05d}.png" for index in range(count)]
    shown = shown_frames(count, folder.record["stages"]["optimize"]["test_frames"])
    compared, views = compared_frames(count, shown), {}
    with atomic_folder(folder.renders, overwrite=True) as temporary:
        for index in range(count):
            rendering = renderer.render(model.cameras[index], exposure=model.exposures[index])
            image = np.rint(np.clip(rendering.image, 0, 1) * 255).astype(np.uint8)
            write_png(temporary / paths[index].name, image)
            if index in compared:
                motion = scene.motion_masks[index] if scene.motion_masks is not None else None
                observed = scene.observed[index] if scene.observed is not None else None
                views[index] = coarse_view(model.cameras[index], rendering.z_depth, motion, observed)
            progress("rendering", index + 1, count)
    rate = frame_rate(scene.frames)
    write_video(folder.clean_video, (read_image(path) for path in paths), rate)

    def images() -> Iterator[np.ndarray]:
        for index, path in enumerate(paths):
            motion = scene.motion_masks[index] if scene.motion_masks is not None else None
            yield comparison(scene.frames.rgb8(index), motion, read_image(path))
            progress("writing videos", index + 1, count)

    write_video(folder.compare_video, images(), rate)
    return write_visibility(folder.seen, views, shown)


def _score(
    scene: Scene,
    settings: RunSettings,
    folder: RunFolder,
    annotations: FrameMaps | None,
    progress: Progress,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    from stillsplat.scores.scoring import code_version, score_run

    optimized = folder.record["stages"]["optimize"]
    suffix = held_out_suffix(optimized)
    deviations = settings.protocol_deviations()
    if deviations:
        suffix += f"; differs from the DAS3R protocol in: {', '.join(deviations)}"
    scores = score_run(
        scene.frames,
        lambda index: folder.render(index, scene.frames),
        scene.motion_masks,
        mask_source="masks given by the user" if settings.masks else "predicted masks",
        test_frames=optimized["test_frames"],
        annotations=annotations,
        observed=scene.observed,
        protocol_suffix=suffix,
        progress=progress,
    )
    for sentence in scores.notes:
        if not sentence.startswith("LPIPS"):
            warn(sentence)
    count = len(scene.frames)
    test = optimized["test_frames"]
    return {
        "schema_version": 1,
        "code": code_version(),
        "protocol": settings.protocol,
        "protocol_deviations": deviations,
        "scores": scores.figures,
        "notes": scores.notes,
        "frames": count,
        "size": [scene.frames.width, scene.frames.height],
        "split": {"held_out": test, "training": [index for index in range(count) if index not in set(test)]},
        "gaussians": optimized["gaussians"],
        "per_frame": scores.per_frame,
    }


def held_out_suffix(optimized: dict[str, Any]) -> str:
    """How the cameras and exposures of held-out frames came about, in words."""
    cameras = {
        "predictor": "of the predictor, never moved",
        "interpolated correction": "of the predictor, moved by what their neighbors were moved",
        "optimized on static pixels": "optimized on their own static pixels",
    }.get(optimized["test_cameras"], optimized["test_cameras"])
    exposures = optimized.get("test_exposures")
    return f"cameras of held-out frames: {cameras}" + (f"; their exposures: {exposures}" if exposures else "")


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    start = time.monotonic()
    yield lambda: time.monotonic() - start

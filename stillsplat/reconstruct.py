"""The whole way in one call: a video in, a static Gaussian scene with renders, scores and a report out."""

import gc
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.frames import Frames, open_frames, parse_frame_range
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat import run_folder
from stillsplat.run_folder import RunFolder
from stillsplat.settings import RunSettings

STAGES = ("scene", "optimize", "render", "score", "report")


@dataclass
class Reconstruction:
    """What a run ends with: where everything lies, and its record and scores as in run.json and metrics.json."""

    folder: RunFolder
    metrics: dict[str, Any]
    #: sentences that a person should read: fallbacks of the predictor, damaged input, missing scores
    warnings: list[str]


def reconstruct(
    settings: RunSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Reconstruction:
    """Makes everything that `stillsplat run` promises in the folder `output`.

    Works in stages (scene, optimize, render, score, report); each writes its files whole and is then recorded, so that
    with `resume` a run that was stopped goes on where it was, inside the optimization from its last checkpoint. When
    nothing is finished, nothing is left. `warn` receives sentences as they come up.

    Raises `InputError` for everything that a user can mend; KeyboardInterrupt passes through after clean-up.
    """
    settings = settings.resolved()
    _check_early(settings)
    folder = run_folder.begin(Path(output), settings, resume=resume, overwrite=overwrite)
    try:
        return _run(folder, settings, progress, warn)
    except InputError as error:
        if not folder.any_finished():
            raise
        kept = f"what was finished is in {folder.path}, --resume goes on with it"
        raise InputError(f"{str(error).rstrip('.')}; {kept}.") from error
    finally:
        folder.clean_up()


def _run(folder: RunFolder, settings: RunSettings, progress: Progress, warn: Callable[[str], None]) -> Reconstruction:
    from scene.folder import load_scene

    warnings: list[str] = [str(item) for item in folder.record.get("warnings", [])]

    def remember(sentence: str) -> None:
        if sentence not in warnings:
            warnings.append(sentence)
            folder.record["warnings"] = warnings
            warn(sentence)

    if not folder.finished("scene"):
        folder.forget(*STAGES)
        with _timed() as clock:
            make_scene(settings, folder.scene, folder.working, progress, remember)
        folder.finish("scene", clock(), peak_memory_bytes=peak_memory_bytes())
        gc.collect()
    scene = load_scene(folder.scene)
    annotations = _annotations(settings, scene)
    if not folder.finished("optimize"):
        with _timed() as clock:
            findings = _optimize(scene, settings, folder, annotations, progress)
        folder.finish("optimize", clock(), peak_memory_bytes=peak_memory_bytes(), **findings)
        gc.collect()
    if not folder.finished("render"):
        with _timed() as clock:
            _keep_refined_cameras(folder)
            _render(load_scene(folder.scene), folder, progress)
        folder.finish("render", clock(), peak_memory_bytes=peak_memory_bytes())
    scene = load_scene(folder.scene)
    with _timed() as clock:
        metrics = _score(scene, settings, folder, annotations, progress, remember)
    folder.finish("score", clock())
    metrics["seconds"] = {name: stage["seconds"] for name, stage in folder.record["stages"].items()}
    metrics["peak_memory_bytes"] = max(
        int(stage.get("peak_memory_bytes", 0)) for stage in folder.record["stages"].values()
    )
    run_folder.write_json(folder.metrics, metrics)
    with _timed() as clock:
        from stillsplat.report import write_report

        write_report(folder, progress=progress)
    folder.finish("report", clock())
    return Reconstruction(folder, metrics, warnings)


def predict(
    settings: RunSettings,
    scene_folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """The predictor alone: writes the scene of `settings.input` into `scene_folder`, whole or not at all."""
    settings = settings.resolved()
    _check_early(settings)
    scene_folder = Path(scene_folder)
    if scene_folder.exists() and not overwrite:
        raise InputError(f"The scene folder {scene_folder} exists already; choose another or add --overwrite.")
    # frames lie meanwhile where the scene will, because a system's temporary folder may be small
    nearby = next(folder for folder in scene_folder.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".stillsplat-", dir=nearby) as working:
        make_scene(settings, scene_folder, Path(working), progress, warn, overwrite=overwrite)


def make_scene(
    settings: RunSettings,
    scene_folder: Path,
    working_folder: Path,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    *,
    overwrite: bool = False,
) -> None:
    """Reads the input, lets the predictor work and saves its scene. `working_folder` holds the frames meanwhile.

    An input that is a scene folder already is taken as it is; only the user's masks, or those of
    another predictor, replace its own.
    """
    from dynamic_predictor.specs import create_predictor
    from scene.folder import save_scene
    from scene.open_scene import is_scene, open_scene

    if is_scene(settings.input):
        scene = open_scene(settings.input)
        if settings.masks is not None:
            scene = replace(scene, motion_masks=open_frame_masks(settings.masks, scene.frames, None))
            scene.provenance["masks"] = "given by the user"
        elif settings.masks_from is not None:
            scene = replace(scene, motion_masks=_masks_of(settings.masks_from, scene.frames, settings.seed, progress))
            scene.provenance["masks"] = f"predicted ({settings.masks_from})"
        if settings.annotations is not None:
            open_frame_masks(settings.annotations, scene.frames, None)
        for sentence in scene_warnings(scene):
            warn(sentence)
        save_scene(scene, scene_folder, overwrite=overwrite, progress=progress)
        return
    frames = open_frames(
        settings.input,
        max_size=settings.max_size,
        frame_range=settings.frames,
        working_folder=working_folder / "frames",
        progress=progress,
    )
    if frames.warnings:
        # a cut-off clip is a mistake more often than a wish, so it is only used when it is asked for
        what = " ".join(sentence.rstrip(".") for sentence in frames.warnings)
        raise InputError(f"{what}; repair it, or go on with what is readable by --frames 0:{len(frames)}.")
    masks = None
    if settings.masks is not None:
        masks = open_frame_masks(settings.masks, frames, settings.frames)
    if settings.annotations is not None:
        open_frame_masks(settings.annotations, frames, settings.frames)
    weights = {} if settings.weights is None else {"weights": settings.weights}
    predictor = create_predictor(settings.predictor, seed=settings.seed, **weights)
    if settings.fov is not None:
        _tell_focal(predictor, settings, frames)
    masks_by = "given by the user"
    if settings.masks_from is not None:
        masks = _masks_of(settings.masks_from, frames, settings.seed, progress)
        masks_by = f"predicted ({settings.masks_from})"
    scene = predictor.predict(frames, masks=masks, progress=progress)
    if masks is not None:
        scene = replace(scene, motion_masks=masks)
    scene.provenance = {
        **scene.provenance,
        "input": settings.input,
        "source_frames": source_frames(settings.frames, len(frames)),
        "masks": masks_by if masks is not None else f"predicted ({scene.predictor or settings.predictor})",
    }
    for sentence in scene_warnings(scene):
        warn(sentence)
    save_scene(scene, scene_folder, overwrite=overwrite, progress=progress)


def _masks_of(name: str, frames: Frames, seed: int, progress: Progress) -> FrameMaps:
    """What the predictor called `name` says moves in `frames`; nothing else of it is kept."""
    from dynamic_predictor.specs import create_predictor

    found = create_predictor(name, seed=seed).predict(frames, progress=progress).motion_masks
    if found is None:
        raise InputError(f"The predictor {name} finds no motion masks; choose another for --masks-from.")
    return found


def _tell_focal(predictor: Any, settings: RunSettings, frames: Frames) -> None:
    """Hands a known angle of view to a predictor that has a setting for the focal length in pixels."""
    known = getattr(predictor, "settings", None)
    if not is_dataclass(known) or isinstance(known, type) or "focal" not in {field.name for field in fields(known)}:
        raise InputError(f"The predictor {settings.predictor} finds the angle of view itself; leave out --fov.")
    assert settings.fov is not None
    focal = frames.width / 2 / math.tan(math.radians(settings.fov) / 2)
    predictor.settings = replace(known, focal=focal)  # type: ignore[type-var]


def open_frame_masks(folder: str | Path, frames: Frames, frame_range: str | None) -> FrameMaps:
    """The user's masks or annotations for `frames`: one per frame, or one per frame of the whole input, of which those
    of `frame_range` are taken. Raises `InputError` when count or size do not fit."""
    from scene.masks import open_masks

    return open_masks(folder, frames, frame_range=frame_range)


def source_frames(frame_range: str | None, count: int) -> list[int]:
    """Positions in the input, counted from 0, of the `count` frames that `frame_range` chose."""
    chosen = parse_frame_range(frame_range)
    start, step = chosen.start or 0, chosen.step or 1
    return [start + index * step for index in range(count)]


def scene_warnings(scene: Scene) -> list[str]:
    """What the predictor wants a person to know."""
    found = scene.provenance.get("warnings", [])
    return [str(item) for item in found] if isinstance(found, list) else [str(found)]


def peak_memory_bytes() -> int:
    """The most memory that this process, or one that it started, has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) * unit


def _check_early(settings: RunSettings) -> None:
    """What can be refused before anything is made."""
    from dynamic_predictor.specs import available_predictors, create_predictor, unknown_settings
    from scene.open_scene import is_scene, open_scene

    for name in (settings.predictor, settings.masks_from):
        if name is not None and name not in available_predictors():
            create_predictor(name)  # raises the sentence that lists the known ones
    if settings.weights is not None and unknown_settings(settings.predictor, ["weights"]):
        raise InputError(f"The predictor {settings.predictor} has no weights; leave out --weights.")
    parse_frame_range(settings.frames)
    for option, given in (("--masks", settings.masks), ("--annotations", settings.annotations)):
        if given is not None and not Path(given).expanduser().is_dir():
            what = "is not a folder" if Path(given).expanduser().exists() else "does not exist"
            raise InputError(f"{option} {given} {what}; give a folder with one mask image per frame.")
    if is_scene(settings.input):
        open_scene(settings.input)
        if settings.frames is not None and settings.protocol == "none":
            raise InputError(f"{settings.input} is a scene, whose frames are fixed; leave out --frames.")


def _annotations(settings: RunSettings, scene: Scene) -> FrameMaps | None:
    if settings.annotations is None:
        return None
    return open_frame_masks(settings.annotations, scene.frames, settings.frames)


def _optimize(
    scene: Scene, settings: RunSettings, folder: RunFolder, annotations: FrameMaps | None, progress: Progress
) -> dict[str, Any]:
    from gaussian.trainer import train
    from scene.formats.splat_ply import save_ply

    result = train(
        scene,
        train_settings(settings),
        folder.model,
        annotations=annotations,
        progress=progress,
        resume=(folder.model / "checkpoint.pt").exists(),
    )
    save_ply(folder.splats, result.gaussians)
    return {
        "gaussians": len(result.gaussians),
        "test_frames": list(result.test_frames),
        "test_cameras": result.test_cameras,
        "test_exposures": result.test_metrics.get("exposures"),
        "history": result.history,
        "settings": result.settings.to_dict(),
    }


def train_settings(settings: RunSettings):
    """The optimizer's settings for a run."""
    from gaussian.settings import TrainSettings

    chosen: dict[str, Any] = {
        "seed": settings.seed,
        "protocol": settings.protocol,
        "test_every": settings.test_every,
        "refine_test_cameras": settings.refine_test_cameras,
        "device": settings.device,
    }
    if settings.iterations is not None:
        chosen["iterations"] = settings.iterations
    if settings.max_gaussians is not None:
        chosen["max_gaussians"] = settings.max_gaussians
    return TrainSettings(**chosen)


def _keep_refined_cameras(folder: RunFolder) -> None:
    """Puts the cameras of the optimization into the scene. Only after it is finished: a checkpoint knows the scene by
    the cameras that the predictor found."""
    from gaussian.model_folder import load_model
    from scene.folder import replace_cameras

    if not (folder.scene / "cameras_predicted.json").exists():
        cameras = load_model(folder.model).cameras
        replace_cameras(folder.scene, cameras, "Refined together with the Gaussians by stillsplat run.")


def _render(scene: Scene, folder: RunFolder, progress: Progress) -> None:
    from gaussian.model_folder import load_model
    from scene.images import read_image, write_png
    from scene.splat_rendering import Renderer
    from scene.video import write_video
    from stillsplat.overlays import comparison

    model = load_model(folder.model)
    renderer = Renderer(model.gaussians)
    count = len(scene.frames)
    paths = [folder.renders / f"{index:05d}.png" for index in range(count)]
    with atomic_folder(folder.renders, overwrite=True) as temporary:
        for index in range(count):
            image = renderer.render(model.cameras[index], exposure=model.exposures[index]).image
            write_png(temporary / paths[index].name, np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
            progress("rendering", index + 1, count)
    rate = frame_rate(scene.frames)
    write_video(folder.clean_video, (read_image(path) for path in paths), rate)

    def images() -> Iterator[np.ndarray]:
        for index, path in enumerate(paths):
            motion = scene.motion_masks[index] if scene.motion_masks is not None else None
            yield comparison(scene.frames.rgb8(index), motion, read_image(path))
            progress("writing videos", index + 1, count)

    write_video(folder.compare_video, images(), rate)


def frame_rate(frames: Frames) -> float:
    """Frames per second by the frames' own times, between 1 and 120; 30 where they have none."""
    times = list(frames.timestamps)
    length = times[-1] - times[0] if len(times) > 1 else 0.0
    return float(np.clip((len(times) - 1) / length, 1.0, 120.0)) if length > 0 else 30.0


def _score(
    scene: Scene,
    settings: RunSettings,
    folder: RunFolder,
    annotations: FrameMaps | None,
    progress: Progress,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    from scene.images import read_image
    from stillsplat.scores.scoring import code_version, score_run

    optimized = folder.record["stages"]["optimize"]
    suffix = held_out_suffix(optimized)
    deviations = settings.protocol_deviations()
    if deviations:
        suffix += f"; differs from the DAS3R protocol in: {', '.join(deviations)}"
    scores = score_run(
        scene.frames,
        lambda index: read_image(folder.renders / f"{index:05d}.png"),
        scene.motion_masks,
        mask_source="masks given by the user" if settings.masks else "predicted masks",
        test_frames=optimized["test_frames"],
        annotations=annotations,
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
        "interpolated correction": "of the predictor, moved by what their neighbours were moved",
        "optimized on static pixels": "optimized on their own static pixels",
    }.get(optimized["test_cameras"], optimized["test_cameras"])
    exposures = optimized.get("test_exposures")
    return f"cameras of held-out frames: {cameras}" + (f"; their exposures: {exposures}" if exposures else "")


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    start = time.monotonic()
    yield lambda: time.monotonic() - start

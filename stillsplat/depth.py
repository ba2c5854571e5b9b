"""Depth maps of images and videos: arrays, colored previews, 16-bit images.

depth/00000.npz       z_depth float32 (H, W), 0 = unknown; confidence in [0, 1]
previews/00000.jpg    image and colored depth side by side, and preview.mp4 of all
png16/00000.png       z_depth in whole steps of depth.json's png16_step, 0 = unknown (on request)
depth.json            predictor, unit, settings
Of a clip with cuts, each shot has such a folder, shot-01 and so on, and shots.json names them.
Exports lie beside them (on request).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.contract import Prediction, Predictor
from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import ChunkSettings, StreamSettings
from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence
from dynamic_predictor.driver.sources import FrameSource, ImageFiles
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.specs import specs
from scene.depth_colors import depth_colors, inverse_depth_limits
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import write_json
from scene.files.locking import only_process
from scene.files.output_place import check_output_folder
from scene.files.recovery import working_folder
from scene.formats.exportable import Exportable
from scene.formats.registry import OF_ONE_PREDICTION, export, needs_of
from scene.frames import MemoryFrames
from scene.images import read_image, write_jpeg
from scene.open_scene import is_scene
from scene.option import values_of
from scene.progress import Progress, ignore_progress
from scene.projects.opening import is_project
from scene.scene import Scene
from scene.video import write_video
from stillsplat.depth_settings import DepthSettings
from stillsplat.scene_exports import checked_formats, export_settings, length_check
from stillsplat.shot_folders import RECORD as SHOTS
from stillsplat.shot_folders import holds_shots, spans_of

_PNG_STEPS = 65_535
_PREVIEW_RATE = 15.0


@dataclass(frozen=True)
class _Map:
    image: np.ndarray
    z_depth: np.ndarray
    confidence: np.ndarray


def estimate_depth_maps(
    settings: DepthSettings,
    output: str | Path,
    *,
    overwrite: bool = False,
    predictor: Predictor | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> int:
    """Writes the folder `output`, whole or not at all; returns the number of maps. `predictor` is used instead of the
    one that the settings name. Raises `InputError` for input that cannot be used, and for options that the predictor
    cannot use."""
    output = Path(output)
    check_output_folder(
        output,
        holds="depth maps",
        is_ours=lambda folder: (folder / "depth.json").exists() or holds_shots(folder),
        overwrite=overwrite,
    )
    if is_scene(settings.input):
        raise InputError(f"{settings.input} is a scene, which has depth already; give the images that it was made of.")
    if is_project(settings.input):
        raise InputError(f"{settings.input} is a project; give the folder of its images, or use stillsplat predict.")
    check_options(settings, makes_scene=False, in_chunks=not settings.each)
    _check_masks(settings)
    formats = checked_formats(settings, each=settings.each)
    _check_metric(settings)
    wanted = export_settings(settings, formats)
    driver = SceneDriver(settings, predictor=predictor, progress=progress, warn=warn, **wanted)
    source = driver.open_source()
    spec = settings.spec
    each = settings.each or not spec.cameras or source.total == 1
    if each and not spec.single_view:
        raise InputError(f"{spec.name} needs several frames of a moving view; use a da3 model for single images.")
    chunks = _chunks(settings, formats, each)
    with (
        only_process(output),
        atomic_folder(output, overwrite=overwrite) as folder,
        working_folder(output) as working,
    ):
        if each:
            maps, description = _each_by_itself(source, driver, settings)
            if formats:
                found = list(maps)
                export(_of_maps(found), folder, formats, settings.export_options, progress=progress)
                maps = iter(found)
            return _write(folder, maps, None, description, settings, warn)
        if formats and chunks is None and spec.mixed_sizes and isinstance(source, ImageFiles):
            return _write_collection(folder, driver.collection(source.files), formats, settings, progress, warn)
        workspace = StreamWorkspace(working / "clip", {}, resume=False)
        try:
            return _of_clip(folder, driver, workspace, source, chunks, formats, settings)
        except SeveralShots as several:
            found = several.found
        warn(cuts_sentence(settings.input, found))
        count, entries = 0, spans_of(found)
        for entry in entries:
            shot = replace(settings, shot=str(entry["shot"]))
            other = SceneDriver(shot, predictor=driver.predictor, progress=progress, warn=warn)
            (folder / entry["folder"]).mkdir()
            count += _of_clip(folder / entry["folder"], other, workspace, None, chunks, formats, shot)
        write_json(folder / SHOTS, {"schema_version": 1, "shots": entries})
        return count


def _of_clip(
    folder: Path,
    driver: SceneDriver,
    workspace: StreamWorkspace,
    source: FrameSource | None,
    chunks: StreamSettings | None,
    formats: Sequence[str],
    settings: DepthSettings,
) -> int:
    """A clip or a shot of it, of which all frames are predicted in one world."""
    check_length = length_check(settings, formats)
    driven = driver.scene(
        workspace,
        source=source,
        stream=chunks,
        accept_damaged=True,
        motion_stage=False,
        check=lambda frames, positions, source_size: check_length(frames),
    )
    is_metric = bool(driven.scene.provenance.get("is_metric"))
    _require_meters(settings, is_metric)
    if formats:
        exportable = driven.prediction.exportable if driven.prediction is not None else None
        export(exportable or driven.scene, folder, formats, settings.export_options, progress=driver.progress)
    limits = _clip_limits(driven.scene)
    maps = _maps_of(driven.scene, driver.progress)
    return _write(folder, maps, limits, {"is_metric": is_metric}, settings, driver.warn)


def _write_collection(
    folder: Path,
    prediction: Prediction,
    formats: Sequence[str],
    settings: DepthSettings,
    progress: Progress,
    warn: Callable[[str], None],
) -> int:
    """Images that were predicted together, whatever their sizes: maps and exports at the size of the prediction."""
    _require_meters(settings, prediction.is_metric)
    exportable = prediction.exportable
    assert exportable is not None
    export(exportable, folder, formats, settings.export_options, progress=progress)
    count = len(prediction)
    maps = (
        _Map(exportable.frames.rgb8(index), prediction.z_depth[index], prediction.confidence[index])
        for index in range(count)
    )
    limits = inverse_depth_limits(np.concatenate([prediction.z_depth[i][::4, ::4].ravel() for i in range(count)]))
    return _write(folder, maps, limits, {"is_metric": prediction.is_metric}, settings, warn)


def _chunks(settings: DepthSettings, formats: Sequence[str], each: bool) -> StreamSettings | None:
    """How a clip is cut into chunks; None: not at all, or as the predictor must."""
    chosen = StreamSettings(**values_of(settings, ChunkSettings), loop=False, strict_official=settings.strict_official)
    is_default = values_of(settings, ChunkSettings) == values_of(ChunkSettings(), ChunkSettings)
    if not is_default and (each or needs_of(formats) & OF_ONE_PREDICTION):
        raise InputError("Nothing is predicted in chunks here; leave out --chunk-size and --overlap.")
    return None if formats and is_default else chosen


def _check_metric(settings: DepthSettings) -> None:
    spec = settings.spec
    if settings.metric and not spec.metric and settings.weights is None:
        _require_meters(settings, False)
    if settings.metric and spec.metric_needs_focal and settings.fov is None:
        raise InputError(f"{spec.name} needs the angle of view for depth in meters; give --fov DEGREES.")


def _check_masks(settings: DepthSettings) -> None:
    if (settings.masks or settings.masks_from) and (settings.each or not settings.spec.known_masks):
        name = "--masks" if settings.masks else "--masks-from"
        raise InputError(f"Motion masks change no depth of {settings.spec.name} here; leave out {name}.")
    if settings.refine_masks is not None and not settings.masks_from:
        raise InputError("No motion masks are found here that could be refined; leave out --refine-masks.")
    if settings.masks_grow is not None and not (settings.masks or settings.masks_from):
        raise InputError("Only masks that are given change depth here; give --masks, or leave out --masks-grow.")


def _require_meters(settings: DepthSettings, is_metric: bool) -> None:
    if settings.metric and not is_metric:
        able = ", ".join(
            f"{name} with --fov" if row.metric_needs_focal else name for name, row in specs().items() if row.metric
        )
        raise InputError(f"{settings.spec.name} predicts no depth in meters; choose one that does: {able}.")


def _each_by_itself(
    source: FrameSource, driver: SceneDriver, settings: DepthSettings
) -> tuple[Iterator[_Map], dict[str, Any]]:
    description: dict[str, Any] = {"is_metric": False}

    def maps() -> Iterator[_Map]:
        for index, decoded in enumerate(source.images()):
            image, found = driver.single_view(decoded.pixels)
            _require_meters(settings, found.is_metric)
            description["is_metric"] = found.is_metric
            yield _Map(image, found.z_depth[0], found.confidence[0])
            driver.progress("depth", index + 1, max(source.total, index + 1))
        if source.ended:
            driver.warn(source.ended)

    return maps(), description


def _of_maps(maps: Sequence[_Map]) -> Exportable:
    """Maps of one size for formats that need no cameras."""
    if len({item.z_depth.shape for item in maps}) != 1:
        raise InputError("Images of different shapes cannot be exported together; leave out --export.")
    return Exportable(
        frames=MemoryFrames(np.stack([item.image for item in maps])),
        cameras=[],
        z_depths=np.stack([item.z_depth for item in maps]),
        confidences=np.stack([item.confidence for item in maps]),
    )


def _maps_of(scene: Scene, progress: Progress) -> Iterator[_Map]:
    assert scene.z_depths is not None and scene.confidences is not None
    for index in range(len(scene.frames)):
        yield _Map(scene.frames.rgb8(index), scene.z_depths[index], scene.confidences[index])
        progress("writing depth", index + 1, len(scene.frames))


def _clip_limits(scene: Scene) -> tuple[float, float]:
    """One range of colors for the clip, so that previews do not flicker."""
    assert scene.z_depths is not None
    count = len(scene.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(count, 20)).round().astype(int))
    return inverse_depth_limits(np.concatenate([scene.z_depths[index][::4, ::4].ravel() for index in chosen]))


def _write(
    folder: Path,
    maps: Iterator[_Map],
    limits: tuple[float, float] | None,
    description: dict[str, Any],
    settings: DepthSettings,
    warn: Callable[[str], None],
) -> int:
    for name in ("depth", "previews"):
        (folder / name).mkdir()
    count, largest, sizes = 0, 0.0, set()
    for count, item in enumerate(maps, start=1):
        stem = f"{count - 1:05d}"
        arrays = {"z_depth": item.z_depth.astype(np.float32), "confidence": item.confidence.astype(np.float32)}
        np.savez_compressed(folder / "depth" / f"{stem}.npz", **arrays)  # type: ignore[arg-type]
        write_jpeg(folder / "previews" / f"{stem}.jpg", np.hstack([item.image, depth_colors(item.z_depth, limits)]))
        largest = max(largest, float(item.z_depth.max(initial=0.0)))
        sizes.add(item.z_depth.shape)
    if not count:
        raise InputError(f"{settings.input} has no images.")
    if count > 1 and len(sizes) == 1:
        previews = sorted((folder / "previews").iterdir())
        write_video(folder / "preview.mp4", map(read_image, previews), settings.fps or _PREVIEW_RATE)
    if settings.png16:
        step = 0.001 if description["is_metric"] else largest / _PNG_STEPS
        if description["is_metric"] and largest > 0.001 * _PNG_STEPS:
            warn(f"Depths beyond {0.001 * _PNG_STEPS:.1f} m do not fit 16-bit millimeters and are cut to that.")
        description["png16_step"] = step
        _write_png16(folder, step)
    description |= {
        "frames": count,
        "settings": asdict(settings),
        "unit": "m" if description["is_metric"] else "relative",
    }
    write_json(folder / "depth.json", description)
    return count


def _write_png16(folder: Path, step: float) -> None:
    (folder / "png16").mkdir()
    for path in sorted((folder / "depth").iterdir()):
        with np.load(path) as arrays:
            steps = np.clip(np.rint(arrays["z_depth"] / max(step, 1e-12)), 0, _PNG_STEPS).astype(np.uint16)
        encoded = cv2.imencode(".png", steps)[1]
        (folder / "png16" / f"{path.stem}.png").write_bytes(encoded.tobytes())

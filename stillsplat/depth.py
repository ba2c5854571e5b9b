"""Depth maps of images and videos: arrays, colour previews, 16-bit images.

depth/00000.npz       z_depth float32 (H, W), 0 = unknown; confidence where the model has one
previews/00000.jpg    image and coloured depth side by side, and preview.mp4 of all
png16/00000.png       z_depth in whole steps of depth.json's png16_step, 0 = unknown (on request)
depth.json            model, unit, sources
Beside them lies what is exported (on request; then all images are seen together).
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS
from dynamic_predictor.driver.predictors import (
    DEPTH_ANYTHING_3,
    create_chunk_predictor,
    load_depth_anything3,
    working_size,
)
from dynamic_predictor.driver.sources import FrameSource, open_source
from dynamic_predictor.driver.stream import StreamSettings, run_stream
from dynamic_predictor.driver.stream_scene import scene_of_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.specs import available_predictors
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.formats.depth_vis import depth_colors, inverse_depth_limits, write_jpeg
from scene.images import fitted_size, read_image, resize_image
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from scene.video import write_video
from stillsplat.exported_depth import ExportChoices, check_export, predict_and_export
from stillsplat.single_images import SingleImages

_PNG_STEPS = 65_535
_PREVIEW_RATE = 15.0


@dataclass(frozen=True)
class DepthSettings:
    """What `estimate_depth_maps` can be told; the command line has one option for each."""

    input: str
    predictor: str = "geometric"
    weights: str | None = None
    #: depth in metres, from models that can
    metric: bool = False
    #: every image for itself, even with a model that could use them together
    each: bool = False
    fov: float | None = None
    rate: float | None = None
    max_frames: int | None = None
    max_size: int | None = None
    chunk_size: int = 60
    overlap: int = 30
    png16: bool = False
    #: official formats of Depth Anything 3, from one prediction of all images together
    export: ExportChoices | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Map:
    image: np.ndarray
    z_depth: np.ndarray
    confidence: np.ndarray | None


def estimate_depth_maps(
    settings: DepthSettings,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> int:
    """Writes the folder `output`, whole or not at all; returns the number of maps. Raises `InputError` for input that
    cannot be used, for `metric` from a model without metres, and when `output` exists without `overwrite`."""
    output = Path(output)
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists already; choose another place or add --overwrite.")
    if output.is_dir() and any(output.iterdir()) and not (output / "depth.json").exists():
        raise InputError(f"{output} holds other things than depth maps and is not replaced; choose another place.")
    if settings.export is not None:
        check_export(settings.predictor, settings.export)
    _check_predictor(settings.predictor)
    source = open_source(settings.input, rate=settings.rate, max_frames=settings.max_frames)
    single = None if settings.export is not None else _single_images(settings, source)
    with atomic_folder(output, overwrite=overwrite) as folder:
        if settings.export is not None:
            return _exported(source, folder, settings, settings.export, progress, warn)
        if single is not None:
            maps, description = _each_for_itself(source, single, settings, progress)
            return _write(folder, maps, None, description, settings, warn)
        with tempfile.TemporaryDirectory(prefix=".stillsplat-", dir=folder.parent) as working:
            scene = _together(source, settings, Path(working), progress, warn)
            if settings.metric and not scene.provenance.get("is_metric"):
                raise InputError(f"{settings.predictor} knows no metres; use da3-nested, or da3-metric with --fov.")
            description = {"is_metric": bool(scene.provenance.get("is_metric"))}
            return _write(folder, _maps_of(scene, progress), _clip_limits(scene), description, settings, warn)


def _check_predictor(name: str) -> None:
    """`InputError` for an unknown name that lists those of models without cameras too, which make no scenes."""
    if not name.startswith(DEPTH_ANYTHING_3) and name not in available_predictors():
        known = sorted({*available_predictors(), *PUBLISHED_MODELS})
        raise InputError(f'There is no predictor called "{name}"; choose one of: {", ".join(known)}.')


def _exported(
    source: FrameSource,
    folder: Path,
    settings: DepthSettings,
    choices: ExportChoices,
    progress: Progress,
    warn: Callable[[str], None],
) -> int:
    prediction = predict_and_export(
        source,
        settings.predictor,
        folder,
        choices,
        weights=settings.weights,
        metric=settings.metric,
        fov=settings.fov,
        resolution=settings.max_size,
        max_frames=settings.max_frames,
        progress=progress,
        warn=warn,
    )
    images = prediction.processed_images
    assert images is not None

    def confidence(index: int) -> np.ndarray | None:
        return None if prediction.conf is None else prediction.scene_confidence(index)

    maps = (_Map(image, prediction.depth[index], confidence(index)) for index, image in enumerate(images))
    limits = None if prediction.conf is None else inverse_depth_limits(prediction.depth[:, ::4, ::4])
    return _write(folder, maps, limits, {"is_metric": bool(prediction.is_metric)}, settings, warn)


def _single_images(settings: DepthSettings, source: FrameSource) -> SingleImages | None:
    """The model for one image after the other, where that is what is asked for, or all that the model or the source
    can."""
    if not settings.predictor.startswith(DEPTH_ANYTHING_3):
        if settings.each or settings.metric:
            raise InputError(
                f"{settings.predictor} needs several frames and knows no metres; use a da3 model for this."
            )
        return None
    if settings.metric and settings.weights is None and not _knows_metres(settings.predictor):
        raise InputError(f"{settings.predictor} knows no metres; use da3-nested, or da3-metric with --fov.")
    if not (settings.each or _is_monocular(settings.predictor) or source.total == 1):
        return None
    model = load_depth_anything3(settings.predictor, settings.weights)
    return SingleImages(
        settings.predictor, model, metric=settings.metric, fov=settings.fov, resolution=settings.max_size
    )


def _knows_metres(name: str) -> bool:
    return "nested" in name or "metric" in name


def _is_monocular(name: str) -> bool:
    return "mono" in name or "metric" in name


def _each_for_itself(
    source: FrameSource, single: SingleImages, settings: DepthSettings, progress: Progress
) -> tuple[Iterator[_Map], dict[str, Any]]:
    description: dict[str, Any] = {"is_metric": False}

    def maps() -> Iterator[_Map]:
        for index, (_, image) in enumerate(source.images()):
            z_depth, confidence, is_metric = single(image)
            description["is_metric"] = is_metric
            height, width = z_depth.shape
            yield _Map(resize_image(image, width, height), z_depth, confidence)
            progress("depth", index + 1, max(source.total, index + 1))

    return maps(), description


def _together(
    source: FrameSource, settings: DepthSettings, working: Path, progress: Progress, warn: Callable[[str], None]
) -> Scene:
    predictor = create_chunk_predictor(
        settings.predictor,
        seed=settings.seed,
        fov=settings.fov,
        weights=settings.weights,
        resolution=settings.max_size,
    )
    limit = settings.max_size or working_size(settings.predictor)

    def prepare(image: np.ndarray) -> np.ndarray:
        return resize_image(image, *fitted_size(image.shape[1], image.shape[0], limit))

    workspace = StreamWorkspace(working / "stream", asdict(settings), resume=False)
    stream = StreamSettings(settings.chunk_size, settings.overlap, loop=False)
    result = run_stream(source, predictor, workspace, stream, prepare=prepare, progress=progress, warn=warn)
    return scene_of_stream(result)


def _maps_of(scene: Scene, progress: Progress) -> Iterator[_Map]:
    assert scene.z_depths is not None and scene.confidences is not None
    for index in range(len(scene.frames)):
        yield _Map(scene.frames.rgb8(index), scene.z_depths[index], scene.confidences[index])
        progress("writing depth", index + 1, len(scene.frames))


def _clip_limits(scene: Scene) -> tuple[float, float]:
    """One range of colours for the clip, so that previews do not flicker."""
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
        arrays = {"z_depth": item.z_depth.astype(np.float32)}
        if item.confidence is not None:
            arrays["confidence"] = item.confidence.astype(np.float32)
        np.savez_compressed(folder / "depth" / f"{stem}.npz", **arrays)  # type: ignore[arg-type]
        write_jpeg(folder / "previews" / f"{stem}.jpg", np.hstack([item.image, depth_colors(item.z_depth, limits)]))
        largest = max(largest, float(item.z_depth.max(initial=0.0)))
        sizes.add(item.z_depth.shape)
    if not count:
        raise InputError(f"{settings.input} has no images.")
    if count > 1 and len(sizes) == 1:
        previews = sorted((folder / "previews").iterdir())
        write_video(folder / "preview.mp4", map(read_image, previews), settings.rate or _PREVIEW_RATE)
    if settings.png16:
        step = 0.001 if description["is_metric"] else largest / _PNG_STEPS
        if description["is_metric"] and largest > 0.001 * _PNG_STEPS:
            warn(f"Depths beyond {0.001 * _PNG_STEPS:.1f} m do not fit 16-bit millimetres and are cut to that.")
        description["png16_step"] = step
        _write_png16(folder, step)
    description |= {
        "frames": count,
        "settings": asdict(settings),
        "unit": "m" if description["is_metric"] else "relative",
    }
    (folder / "depth.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")
    return count


def _write_png16(folder: Path, step: float) -> None:
    (folder / "png16").mkdir()
    for path in sorted((folder / "depth").iterdir()):
        with np.load(path) as arrays:
            steps = np.clip(np.rint(arrays["z_depth"] / max(step, 1e-12)), 0, _PNG_STEPS).astype(np.uint16)
        encoded = cv2.imencode(".png", steps)[1]
        (folder / "png16" / f"{path.stem}.png").write_bytes(encoded.tobytes())

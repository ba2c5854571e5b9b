"""What a Depth Anything 3 prediction can be written as, several formats at once ("npz-glb")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dynamic_predictor.depth_anything3.prediction import Prediction
from gaussian.export.gs_ply import write_gs_ply
from gaussian.export.gs_video import VideoQuality, write_gs_video
from gaussian.model import Gaussians, logit
from gaussian.showcase_paths import ShowcasePath
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.colmap import write_colmap
from scene.formats.depth_vis import depth_colors, write_depth_vis, write_jpeg
from scene.formats.feat_vis import write_feat_vis
from scene.formats.glb import write_glb
from scene.formats.ply import write_points_ply
from scene.formats.prediction_npz import write_npz
from scene.point_cloud import confidence_threshold, unproject_pixels
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud

#: no point of a viewer's file is less sure than this, where enough are
_LEAST_CONFIDENCE = 1.05
_SMALLEST_SCALE = 1e-9


@dataclass(frozen=True)
class ExportSettings:
    """Choices of the formats that have some."""

    #: glb, ply, colmap: percent of the least sure pixels that give no points
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    show_cameras: bool = True
    #: feat_vis: pictures per second
    feature_rate: float = 15.0
    #: gs_video
    trajectory: ShowcasePath = "extend"
    quality: VideoQuality = "high"
    #: colmap: names and sizes (W, H) of the pictures as they were; None: those that the network saw
    image_names: Sequence[str] | None = None
    image_sizes: Sequence[tuple[int, int]] | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Format:
    write: Callable[[Prediction, Path, ExportSettings, Progress], None]
    #: fields of the prediction without which there is nothing to write
    needs: tuple[str, ...]


def export_prediction(
    prediction: Prediction,
    folder: str | Path,
    formats: str | Sequence[str] = "mini_npz",
    settings: ExportSettings | None = None,
    *,
    progress: Progress = ignore_progress,
) -> None:
    """Writes `prediction` into `folder` in every one of `formats` (names, or joined by "-": "mini_npz-glb").

    Each file appears whole or not at all. Raises `InputError` before anything is written when a format is unknown or
    when the model that predicted has nothing for it.
    """
    names = formats.split("-") if isinstance(formats, str) else list(formats)
    for name in names:
        if name not in EXPORT_FORMATS:
            raise InputError(f'There is no export format "{name}"; choose from: {", ".join(EXPORT_FORMATS)}.')
        missing = [field for field in EXPORT_FORMATS[name].needs if not _has(prediction, field)]
        if missing:
            raise InputError(f"The format {name} needs {' and '.join(missing)}, which this prediction does not have.")
    for name in names:
        EXPORT_FORMATS[name].write(prediction, Path(folder), settings or ExportSettings(), progress)


def _has(prediction: Prediction, field: str) -> bool:
    if field == "features":
        return any(name.startswith("feat_layer_") for name in prediction.aux)
    return getattr(prediction, field) is not None


def _npz(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    _write_npz(prediction, folder / "exports" / "npz" / "results.npz", prediction.processed_images)


def _mini_npz(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    _write_npz(prediction, folder / "exports" / "mini_npz" / "results.npz", None)


def _write_npz(prediction: Prediction, path: Path, images: np.ndarray | None) -> None:
    write_npz(
        path,
        prediction.depth,
        confidence=prediction.conf,
        extrinsics=prediction.extrinsics,
        intrinsics=prediction.intrinsics,
        images=images,
    )


def _glb(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    cameras = prediction.cameras()
    points = confident_points(prediction, cameras, settings)
    write_glb(folder / "scene.glb", points, cameras, show_cameras=settings.show_cameras)
    images = _images(prediction)
    write_jpeg(folder / "scene.jpg", np.hstack([images[0], depth_colors(prediction.depth[0])]))


def _ply(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    write_points_ply(folder / "points.ply", confident_points(prediction, prediction.cameras(), settings))


def _depth_vis(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    write_depth_vis(folder / "depth_vis", zip(_images(prediction), prediction.depth, strict=True))


def _feat_vis(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    features = {name: values for name, values in prediction.aux.items() if name.startswith("feat_layer_")}
    write_feat_vis(folder / "feat_vis", _images(prediction), features, fps=settings.feature_rate)


def _colmap(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    cameras = prediction.cameras()
    count = len(cameras)
    names = list(settings.image_names or [f"{index:05d}.png" for index in range(count)])
    if len(names) != count or (settings.image_sizes is not None and len(settings.image_sizes) != count):
        raise InputError(f"There are {len(names)} image names for {count} pictures; give a name and a size for each.")
    points = confident_points(prediction, cameras, settings)
    if settings.image_sizes is not None:
        cameras = [camera.resized(*size) for camera, size in zip(cameras, settings.image_sizes, strict=True)]
    write_colmap(folder / "colmap" / "sparse" / "0", names, cameras, points)


def _gs_ply(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    write_gs_ply(folder / "gs_ply" / "0000.ply", gaussians_of(prediction), prediction.depth)


def _gs_video(prediction: Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    write_gs_video(
        folder / "gs_video" / f"0000_{settings.trajectory}.mp4",
        gaussians_of(prediction),
        prediction.cameras(),
        trajectory=settings.trajectory,
        quality=settings.quality,
        progress=progress,
    )


def confident_points(prediction: Prediction, cameras: Sequence[Camera], settings: ExportSettings) -> PointCloud:
    """World points of the sure pixels, at most `max_points` of them, drawn evenly."""
    images, confidence = _images(prediction), prediction.conf
    threshold = -np.inf
    if confidence is not None:
        threshold = confidence_threshold(confidence, percentile=settings.confidence_percentile, least=_LEAST_CONFIDENCE)
    positions, colors = [], []
    for index, camera in enumerate(cameras):
        depth = prediction.depth[index]
        sure = np.isfinite(depth) & (depth > 0)
        if confidence is not None:
            sure &= confidence[index] >= threshold
        pixels = np.flatnonzero(sure)
        positions.append(unproject_pixels(camera, depth, pixels).astype(np.float32))
        colors.append(images[index].reshape(-1, 3)[pixels])
    joined, paint = np.concatenate(positions), np.concatenate(colors)
    if len(joined) > settings.max_points:
        kept = np.random.default_rng(settings.seed).choice(len(joined), settings.max_points, replace=False)
        joined, paint = joined[np.sort(kept)], paint[np.sort(kept)]
    return PointCloud(joined, paint)


def gaussians_of(prediction: Prediction) -> Gaussians:
    """The predicted Gaussians as those of `gaussian.model`, on the CPU. Scales that came out below zero, which the
    network can produce, become tiny."""
    predicted = prediction.gaussians
    assert predicted is not None
    opacities = predicted.opacities[0].float().cpu().clamp(1e-6, 1 - 1e-6)
    return Gaussians(
        predicted.means[0].float().cpu(),
        predicted.scales[0].float().cpu().clamp_min(_SMALLEST_SCALE).log(),
        torch.nn.functional.normalize(predicted.rotations[0].float().cpu(), dim=1),
        logit(opacities),
        predicted.harmonics[0].float().cpu().transpose(1, 2).contiguous(),
    ).packed()


def _images(prediction: Prediction) -> np.ndarray:
    assert prediction.processed_images is not None
    return prediction.processed_images


_CAMERAS = ("extrinsics", "intrinsics", "processed_images")
EXPORT_FORMATS = {
    "npz": _Format(_npz, ("processed_images",)),
    "mini_npz": _Format(_mini_npz, ()),
    "glb": _Format(_glb, _CAMERAS),
    "ply": _Format(_ply, _CAMERAS),
    "colmap": _Format(_colmap, _CAMERAS),
    "depth_vis": _Format(_depth_vis, ("processed_images",)),
    "feat_vis": _Format(_feat_vis, ("features", "processed_images")),
    "gs_ply": _Format(_gs_ply, ("gaussians",)),
    "gs_video": _Format(_gs_video, ("gaussians", "extrinsics", "intrinsics")),
}

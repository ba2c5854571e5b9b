"""What a Depth Anything 3 prediction can be written as, several formats at once ("npz-glb")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.depth_anything3.gaussians import as_scene_gaussians
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.colmap import write_colmap
from scene.formats.colmap_tracks import Visibility, observe, on_surface
from scene.formats.depth_vis import depth_colors, write_depth_vis, write_jpeg
from scene.formats.feat_vis import write_feat_vis
from scene.formats.glb import write_glb
from scene.formats.gs_ply import write_gs_ply
from scene.formats.gs_video import DepthPlace, VideoQuality, write_gs_video
from scene.formats.ply import write_points_ply
from scene.formats.prediction_npz import write_npz
from scene.gaussians import Gaussians
from scene.point_cloud import confidence_threshold, unproject_pixels
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud
from scene.showcase_paths import ShowcasePath, possible_path

#: channels below are nearly black, at or above nearly white
_BLACK, _WHITE = 16, 240
_MOST_PER_SECOND = 240


@dataclass(frozen=True)
class ExportSettings:
    """Choices of the formats that have some."""

    #: glb, ply, colmap: percent of the least sure pixels that give no points
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    #: no point is less sure than this, where so many percent are left behind it
    least_confidence: float = 1.05
    ceiling_percentile: float = 90.0
    #: pixels that are nearly black or nearly white give no points
    drop_black: bool = False
    drop_white: bool = False
    #: glb: wire pyramids, their length as a part of the scene's diagonal, and depth_vis beside the file
    show_cameras: bool = True
    camera_size: float = 0.03
    depth_vis_beside: bool = True
    #: feat_vis: images per second
    feature_rate: float = 15.0
    #: gs_ply: of the views every so many-th
    view_step: int = 1
    #: gs_video: the cameras that the path goes along (None: the predicted ones), where depth is shown, the file's name
    #: without its ending (None: after the path)
    trajectory: ShowcasePath = "extend"
    quality: VideoQuality = "high"
    video_cameras: Sequence[Camera] | None = None
    depth_beside: DepthPlace = "right"
    video_name: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, percent in (("confidence", self.confidence_percentile), ("ceiling", self.ceiling_percentile)):
            if not 0 <= percent <= 100:
                raise InputError(f"The {name} percentile must be from 0 to 100, not {percent:g}.")
        if self.max_points < 1:
            raise InputError(f"At least one point must be allowed, not {self.max_points}.")
        if self.view_step < 1:
            raise InputError(f"Every N-th view is exported, N from 1 on, not {self.view_step}.")
        if not 0 < self.feature_rate <= _MOST_PER_SECOND:
            raise InputError(
                f"Images per second must be above 0 and at most {_MOST_PER_SECOND}, not {self.feature_rate:g}."
            )
        if not self.camera_size > 0:
            raise InputError(f"The size of the cameras must be above 0, not {self.camera_size:g}.")
        if self.video_name is not None and (not self.video_name or Path(self.video_name).name != self.video_name):
            raise InputError(f'The name of the video must be a plain name, not "{self.video_name}".')


@dataclass(frozen=True)
class _Format:
    write: Callable[[DepthAnything3Prediction, Path, ExportSettings, Progress], None]
    #: fields of the prediction without which there is nothing to write
    needs: tuple[str, ...]


def export_prediction(
    prediction: DepthAnything3Prediction,
    folder: str | Path,
    formats: str | Sequence[str] = "mini_npz",
    settings: ExportSettings | None = None,
    *,
    progress: Progress = ignore_progress,
) -> None:
    """Writes `prediction` into `folder` in every one of `formats` (names, or joined by "-": "mini_npz-glb").

    Each file appears whole or not at all, in place of an earlier one. Raises `InputError` before anything is written
    when a format is unknown or when the model that predicted has nothing for it.
    """
    names = format_names(formats)
    for name in names:
        missing = [field for field in EXPORT_FORMATS[name].needs if not _has(prediction, field)]
        if missing:
            raise InputError(f"The format {name} needs {' and '.join(missing)}, which this prediction does not have.")
    for name in names:
        EXPORT_FORMATS[name].write(prediction, Path(folder), settings or ExportSettings(), progress)


def format_names(formats: str | Sequence[str]) -> list[str]:
    """The names in `formats`, a list or joined by "-", each once; `InputError` for one that there is not."""
    names = list(dict.fromkeys(formats.split("-") if isinstance(formats, str) else formats))
    for name in names:
        if name not in EXPORT_FORMATS:
            raise InputError(f'There is no export format "{name}"; choose from: {", ".join(EXPORT_FORMATS)}.')
    return names


def _has(prediction: DepthAnything3Prediction, field: str) -> bool:
    if field == "features":
        return any(name.startswith("feat_layer_") for name in prediction.aux)
    return getattr(prediction, field) is not None


def _npz(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    _write_npz(prediction, folder / "exports" / "npz" / "results.npz", prediction.processed_images)


def _mini_npz(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    _write_npz(prediction, folder / "exports" / "mini_npz" / "results.npz", None)


def _write_npz(prediction: DepthAnything3Prediction, path: Path, images: np.ndarray | None) -> None:
    write_npz(
        path,
        prediction.depth,
        confidence=prediction.conf,
        extrinsics=prediction.extrinsics,
        intrinsics=prediction.intrinsics,
        images=images,
    )


def _glb(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    cameras = prediction.cameras()
    points = confident_points(prediction, cameras, settings)
    shown = settings.show_cameras
    write_glb(folder / "scene.glb", points, cameras, show_cameras=shown, camera_size=settings.camera_size)
    if settings.depth_vis_beside:
        _depth_vis(prediction, folder, settings, progress)
        write_jpeg(folder / "scene.jpg", np.hstack([_images(prediction)[0], depth_colors(prediction.depth[0])]))


def _ply(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    write_points_ply(folder / "points.ply", confident_points(prediction, prediction.cameras(), settings))


def _depth_vis(
    prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress
) -> None:
    pairs = zip(_images(prediction), prediction.depth, strict=True)
    write_depth_vis(folder / "depth_vis", pairs, overwrite=True)


def _feat_vis(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    features = {name: values for name, values in prediction.aux.items() if name.startswith("feat_layer_")}
    write_feat_vis(folder / "feat_vis", _images(prediction), features, fps=settings.feature_rate, overwrite=True)


def _colmap(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    cameras = prediction.cameras()
    names = [original.name or f"{index:05d}.png" for index, original in enumerate(prediction.originals)]
    if not names or len(set(names)) < len(names):  # two images must not share a name
        names = [f"{index:05d}.png" for index in range(len(cameras))]
    points = confident_points(prediction, cameras, settings)
    shown = prediction.original_cameras()
    observations = observe(shown, np.asarray(points.positions, np.float64), _visibility(prediction))
    write_colmap(folder, names, shown, points, observations)


def _visibility(prediction: DepthAnything3Prediction) -> Visibility:
    """Says which points, in pixels of the images as they came, the predicted depth has on its surface."""

    def is_visible(index: int, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
        if prediction.originals:
            processed_from_original = np.linalg.inv(prediction.originals[index].from_processed)
            pixels = pixels @ processed_from_original[:2, :2].T + processed_from_original[:2, 2]
        return on_surface(prediction.depth[index], pixels, z)

    return is_visible


def _gs_ply(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    path = folder / "gs_ply" / "0000.ply"
    write_gs_ply(path, gaussians_of(prediction), prediction.depth, view_step=settings.view_step)


def _gs_video(prediction: DepthAnything3Prediction, folder: Path, settings: ExportSettings, progress: Progress) -> None:
    cameras = settings.video_cameras or prediction.cameras()
    trajectory = possible_path(settings.trajectory, len(cameras))
    write_gs_video(
        folder / "gs_video" / f"{settings.video_name or f'0000_{trajectory}'}.mp4",
        gaussians_of(prediction),
        cameras,
        trajectory=trajectory,
        quality=settings.quality,
        depth_place=settings.depth_beside,
        progress=progress,
    )


def confident_points(
    prediction: DepthAnything3Prediction, cameras: Sequence[Camera], settings: ExportSettings
) -> PointCloud:
    """World points of the sure pixels, at most `max_points` of them, drawn evenly."""
    images, confidence = _images(prediction), prediction.conf
    threshold = -np.inf
    if confidence is not None:
        threshold = confidence_threshold(
            confidence,
            percentile=settings.confidence_percentile,
            least=settings.least_confidence,
            ceiling=settings.ceiling_percentile,
        )
    positions, colors = [], []
    for index, camera in enumerate(cameras):
        depth = prediction.depth[index]
        sure = np.isfinite(depth) & (depth > 0)
        if confidence is not None:
            sure &= confidence[index] >= threshold
        if settings.drop_black:
            sure &= (images[index] >= _BLACK).any(axis=-1)
        if settings.drop_white:
            sure &= (images[index] < _WHITE).any(axis=-1)
        pixels = np.flatnonzero(sure)
        positions.append(unproject_pixels(camera, depth, pixels).astype(np.float32))
        colors.append(images[index].reshape(-1, 3)[pixels])
    joined, paint = np.concatenate(positions), np.concatenate(colors)
    if len(joined) > settings.max_points:
        kept = np.random.default_rng(settings.seed).choice(len(joined), settings.max_points, replace=False)
        joined, paint = joined[np.sort(kept)], paint[np.sort(kept)]
    return PointCloud(joined, paint)


def gaussians_of(prediction: DepthAnything3Prediction) -> Gaussians:
    """The predicted Gaussians as those of `scene.gaussians`, on the CPU."""
    assert prediction.gaussians is not None
    return as_scene_gaussians(prediction.gaussians)


def _images(prediction: DepthAnything3Prediction) -> np.ndarray:
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

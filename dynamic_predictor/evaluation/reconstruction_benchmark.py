"""Poses and surfaces of scenes with true cameras: the protocol of Depth Anything 3's benchmark.

At most 100 images of a scene, drawn with seed 42, go into the predictor together. "pose" scores relative poses of all
pairs; "recon" fuses its depth maps, scaled and placed by the similarity that brings its cameras to the true ones, and
scores the surface; with `posed` the predictor is given the true cameras and its depth is fused from those.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from dynamic_predictor.depth_anything3.pose_alignment import align_to_known_cameras
from dynamic_predictor.driver.chunk_predictor import ChunkPrediction
from dynamic_predictor.evaluation.datasets.reconstruction import (
    RECONSTRUCTION_DATASETS,
    ReconstructionDataset,
    ReconstructionScene,
    ReconstructionView,
)
from dynamic_predictor.evaluation.results_folder import without_empty_folders
from dynamic_predictor.evaluation.scores.depth_fusion import DistanceVolume
from dynamic_predictor.evaluation.scores.dtu import all_points, consistent_points, read_observed_volume, score_dtu
from dynamic_predictor.evaluation.scores.pair_poses import score_pair_poses
from dynamic_predictor.evaluation.scores.surfaces import read_surface, score_surface
from dynamic_predictor.evaluation.tables import Column, Table, tables_json
from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.frames import Frames, ImageFolderFrames
from scene.images import fitted_size, resize_image, write_png
from scene.progress import Progress, ignore_progress

BenchmarkKind = Literal["pose", "recon"]
_FRAMES, _SEED = 100, 42
_SURFACE_POINTS = 1_000_000
_SOURCE = "get it from the data set depth-anything/DA3-BENCH of the Hugging Face hub (docs/streaming.md)."
_POSE_COLUMNS = tuple(Column(f"auc_{limit}", f"AUC@{limit}", 4, better="higher") for limit in (3, 5, 15, 30))
_SURFACE_COLUMNS = (
    Column("accuracy", "Acc", 4),
    Column("completeness", "Comp", 4),
    Column("overall", "Overall", 4),
    Column("precision", "Prec", 4, better="higher"),
    Column("recall", "Recall", 4, better="higher"),
    Column("f_score", "F-score", 4, better="higher"),
)


class ViewPredictor(Protocol):
    """What is scored: a `ChunkPredictor`, and for `posed` one that takes true cameras."""

    name: str

    def predict_chunk(self, frames: Frames) -> ChunkPrediction: ...


class PosedViewPredictor(ViewPredictor, Protocol):
    def predict_posed_chunk(
        self, frames: Frames, camera_from_world: np.ndarray, intrinsics: np.ndarray
    ) -> ChunkPrediction:
        """As `predict_chunk`, in the world of the given cameras (N, 4, 4), intrinsics (N, 3, 3) in pixels of frames."""
        ...


@dataclass(frozen=True)
class BenchmarkSettings:
    """Which data set under `data_folder`, and where results go. `scenes`: None for those of the published figures, or
    with `all_scenes` all that are there; `max_frames`: 0 for all."""

    dataset: str
    data_folder: Path
    output: Path
    scenes: tuple[str, ...] | None = None
    all_scenes: bool = False
    max_frames: int = _FRAMES
    max_size: int = 504
    posed: bool = False


@dataclass
class BenchmarkReport:
    """Scores by scene, the table as text, and per scene that failed one sentence."""

    scores: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    table: str = ""
    failures: dict[str, str] = field(default_factory=dict)


def run_benchmark(
    settings: BenchmarkSettings,
    kind: BenchmarkKind,
    predictor: ViewPredictor,
    *,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
) -> BenchmarkReport:
    """Scores every scene and writes `evaluation/<dataset>_<kind>.{txt,json}` under the output folder. A scene that
    fails does not stop the others. Raises `InputError` for an unknown or missing data set, and for "recon" of one that
    has true cameras only."""
    dataset, folder = _open(settings)
    if kind == "recon" and not dataset.has_surfaces:
        raise InputError(f"{dataset.title} has true cameras but no surface; use --mode=eval_pose.")
    if settings.posed and not hasattr(predictor, "predict_posed_chunk"):
        raise InputError(f"{predictor.name} cannot be given true cameras; leave out --posed.")
    names = settings.scenes or (None if settings.all_scenes else dataset.scenes) or tuple(dataset.list_scenes(folder))
    if not names:
        raise InputError(f"{folder} holds no scenes; {_SOURCE}")
    report, said = BenchmarkReport(), set()

    def say_once(scene: str, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            if sentence not in said:
                said.add(sentence)
                say(f"{scene}: {sentence}")

    with without_empty_folders(settings.output):
        for done, name in enumerate(names):
            progress("scenes", done, len(names))
            try:
                scene = sampled(dataset.scene(folder, name), settings.max_frames)
                prediction = _predict(scene, predictor, settings, progress)
                say_once(name, prediction.warnings)
                report.scores[name] = _score(dataset, scene, kind, prediction, settings, progress)
            except InputError as error:
                report.failures[name] = str(error)
                say(f"{name}: {error}")
        progress("scenes", len(names), len(names))
        if report.scores:
            _write_table(report, dataset, kind, predictor.name, settings)
    return report


def sampled(scene: ReconstructionScene, count: int) -> ReconstructionScene:
    """At most `count` views in their order, drawn as the benchmark draws them; 0 keeps all."""
    if not 0 < count < len(scene.views):
        return scene
    indices = list(range(len(scene.views)))
    random.Random(_SEED).shuffle(indices)
    return ReconstructionScene(scene.name, [scene.views[index] for index in sorted(indices[:count])], scene.surface)


def fuse(
    dataset: ReconstructionDataset,
    scene: ReconstructionScene,
    prediction: ChunkPrediction,
    *,
    posed: bool = False,
    progress: Progress = ignore_progress,
) -> np.ndarray:
    """Surface points (K, 3) in the true world, from predicted depth."""
    depths, cameras = placed_in_truth(scene, prediction, posed=posed)
    if dataset.scored_as_dtu:
        stacked = np.stack(list(depths))
        return consistent_points(stacked, cameras) if posed else all_points(stacked, cameras)
    volume = DistanceVolume(dataset.voxel_size, dataset.truncation)
    for index, (depth, camera) in enumerate(zip(depths, cameras, strict=True)):
        volume.integrate(depth, camera, max_depth=dataset.max_depth)
        progress("fusing depth", index + 1, len(cameras))
    return volume.surface_points()


def placed_in_truth(
    scene: ReconstructionScene, prediction: ChunkPrediction, *, posed: bool = False
) -> tuple[Iterator[np.ndarray], list[Camera]]:
    """Depth maps (H, W), one at a time, of the pixels that count, and cameras of their size in the true world.
    Predicted cameras are brought to the true ones by a similarity of their centres; with `posed` the true cameras
    themselves are used, and only the scale is."""
    true = np.stack([view.camera_from_world for view in scene.views])
    similarity = align_to_known_cameras(true, np.linalg.inv(prediction.world_from_camera))
    placed = true if posed else similarity.moved(np.linalg.inv(prediction.world_from_camera))
    height, width = prediction.z_depth.shape[1:]

    def depths() -> Iterator[np.ndarray]:
        for index, view in enumerate(scene.views):
            valid = view.read_valid()
            depth = prediction.z_depth[index] * np.float32(similarity.scale)
            if valid is not None:
                small = cv2.resize(valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
                depth = np.where(small > 0, depth, np.float32(0.0))
            yield depth

    cameras = [
        Camera(
            width,
            height,
            fx=float(matrix[0, 0]),
            fy=float(matrix[1, 1]),
            cx=float(matrix[0, 2]),
            cy=float(matrix[1, 2]),
            world_from_camera=np.linalg.inv(camera_from_world),
        )
        for matrix, camera_from_world in zip(prediction.intrinsics, placed, strict=True)
    ]
    return depths(), cameras


def _open(settings: BenchmarkSettings) -> tuple[ReconstructionDataset, Path]:
    if settings.dataset not in RECONSTRUCTION_DATASETS:
        known = ", ".join(RECONSTRUCTION_DATASETS)
        raise InputError(f'There is no benchmark data set called "{settings.dataset}"; choose one of: {known}.')
    dataset = RECONSTRUCTION_DATASETS[settings.dataset]
    folder = settings.data_folder / dataset.folder
    if not folder.is_dir():
        raise InputError(f"{dataset.title} is not in {folder}; {_SOURCE}")
    return dataset, folder


def _score(
    dataset: ReconstructionDataset,
    scene: ReconstructionScene,
    kind: BenchmarkKind,
    prediction: ChunkPrediction,
    settings: BenchmarkSettings,
    progress: Progress,
) -> dict[str, Any]:
    true = np.stack([view.camera_from_world for view in scene.views])
    if kind == "pose":
        return asdict(score_pair_poses(np.linalg.inv(prediction.world_from_camera), true))
    if scene.surface is None:
        raise InputError(f"{scene.name} has no true surface.")
    surface = read_surface(scene.surface, _SURFACE_POINTS)
    points = fuse(dataset, scene, prediction, posed=settings.posed, progress=progress)
    if dataset.scored_as_dtu:
        masks = settings.data_folder / dataset.folder / "SampleSet" / "mvs_data" / "ObsMask"
        volume = read_observed_volume(masks, int(scene.name.removeprefix("scan")))
        return asdict(score_dtu(points, surface, volume, progress=progress))
    if dataset.box_margin is not None:
        low, high = surface.min(axis=0) - dataset.box_margin, surface.max(axis=0) + dataset.box_margin
        points = points[((points >= low) & (points <= high)).all(axis=1)]
    voxel_size = dataset.voxel_size
    return asdict(score_surface(points, surface, dataset.threshold, voxel_size=voxel_size, progress=progress))


def _predict(
    scene: ReconstructionScene, predictor: ViewPredictor, settings: BenchmarkSettings, progress: Progress
) -> ChunkPrediction:
    """All views of a scene, laid as small images on the disk first."""
    settings.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".views-", dir=settings.output) as working:
        paths, scales = [], []
        for index, view in enumerate(scene.views):
            image = view.read()
            size = fitted_size(image.shape[1], image.shape[0], settings.max_size)
            paths.append(Path(working) / f"{index:05d}.png")
            write_png(paths[-1], resize_image(image, *size))
            scales.append(np.diag([size[0] / image.shape[1], size[1] / image.shape[0], 1.0]))
            progress(f"{scene.name}: reading", index + 1, len(scene.views))
        frames = ImageFolderFrames(paths)
        if not settings.posed:
            return predictor.predict_chunk(frames)
        posed: PosedViewPredictor = predictor  # type: ignore[assignment]
        intrinsics = np.stack([scale @ view.intrinsics for scale, view in zip(scales, scene.views, strict=True)])
        return posed.predict_posed_chunk(frames, _true_cameras(scene.views), intrinsics)


def _true_cameras(views: list[ReconstructionView]) -> np.ndarray:
    return np.stack([view.camera_from_world for view in views])


def _write_table(
    report: BenchmarkReport, dataset: ReconstructionDataset, kind: str, method: str, settings: BenchmarkSettings
) -> None:
    columns = _POSE_COLUMNS if kind == "pose" else _SURFACE_COLUMNS
    what = "relative poses" if kind == "pose" else f"surface, {'true' if settings.posed else 'predicted'} cameras"
    table = Table(f"{dataset.title}: {what}, {method}", "scene", columns)
    table.rows = dict(report.scores)
    table.add_mean()
    report.table = table.text()
    stem = f"{dataset.name}_{kind}{'_posed' if settings.posed else ''}"
    folder = settings.output / "evaluation"
    for suffix, content in (("txt", report.table), ("json", tables_json([table]))):
        with atomic_file(folder / f"{stem}.{suffix}") as temporary:
            temporary.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")

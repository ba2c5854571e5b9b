"""Scores camera poses and surfaces on scenes with true cameras, by the protocol of Depth Anything 3's benchmark (2025).

The predictor receives at most 100 images of a scene, drawn with seed 42, at once. "pose" scores the relative poses of
all pairs of images. "recon" scores the surface: predicted depth maps and cameras are transformed into the true world by
the similarity that aligns predicted to true camera centers, and fused. With `posed` the predictor receives the true
cameras, and its depth maps are fused from these.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from dynamic_predictor.contract import Prediction, Predictor, Views
from dynamic_predictor.depth_anything3.pose_alignment import align_cameras, transform_cameras
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings, PredictorChoice
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.evaluation.datasets.reconstruction import (
    RECONSTRUCTION_DATASETS,
    ReconstructionDataset,
    ReconstructionScene,
)
from dynamic_predictor.evaluation.results_folder import without_empty_folders
from dynamic_predictor.evaluation.scores.depth_fusion import DistanceVolume
from dynamic_predictor.evaluation.scores.dtu import all_points, consistent_points, read_observed_volume, score_dtu
from dynamic_predictor.evaluation.scores.pair_poses import score_pair_poses
from dynamic_predictor.evaluation.scores.surfaces import read_surface, score_surface
from dynamic_predictor.evaluation.tables import Column, Table, write_tables
from scene.camera import Camera, cameras_of
from scene.errors import InputError
from scene.files.recovery import working_folder
from scene.frames import ASSUMED_RATE, Frames
from scene.images import fitted_size, resize_image
from scene.media.decoding import DecodedImage
from scene.option import values_of
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


@dataclass(frozen=True)
class BenchmarkSettings(PredictorChoice):
    """The predictor, the data set, the scenes to score and the folder for the results."""

    dataset: str
    data_folder: Path
    output: Path
    #: None: the scenes for which figures are published
    scenes: tuple[str, ...] | None = None
    #: with `scenes` None: every scene on the disk
    all_scenes: bool = False
    #: images per scene; 0: all
    max_frames: int = _FRAMES
    #: the predictor receives the true cameras
    posed: bool = False


@dataclass
class BenchmarkReport:
    """The result of `run_benchmark`."""

    #: figures by the name of the scene
    scores: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    #: as text
    table: str = ""
    #: the reason, one sentence, by the name of the scene that failed
    failures: dict[str, str] = field(default_factory=dict)


def run_benchmark(
    settings: BenchmarkSettings,
    kind: BenchmarkKind,
    *,
    predictor: Predictor | None = None,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
) -> BenchmarkReport:
    """Scores every scene and writes `evaluation/<dataset>_<kind>.{txt,json}` in the output folder.

    `predictor` is used instead of the one that the settings name. `say` receives warnings and the reasons of
    failures; a scene that fails does not stop the others. Raises `InputError` for an unknown or missing data set,
    for "recon" on a data set without true surfaces, and for `posed` with a predictor that does not accept cameras.
    """
    dataset = RECONSTRUCTION_DATASETS.get(settings.dataset)
    if dataset is None:
        known = ", ".join(RECONSTRUCTION_DATASETS)
        raise InputError(f'There is no benchmark data set called "{settings.dataset}"; choose one of: {known}.')
    folder = settings.data_folder / dataset.folder
    if not folder.is_dir():
        raise InputError(f"{dataset.title} is not in {folder}; {_SOURCE}")
    if kind == "recon" and not dataset.has_surfaces:
        raise InputError(f"{dataset.title} has true cameras but no surface; use --mode=eval_pose.")
    spec = settings.spec
    if not spec.cameras:
        raise InputError(f"The predictor {spec.name} finds no cameras; choose another one for this data set.")
    if settings.posed and not spec.known_poses:
        raise InputError(f"{spec.name} does not accept true cameras; leave out --posed.")
    names = settings.scenes or (None if settings.all_scenes else dataset.scenes) or tuple(dataset.list_scenes(folder))
    if not names:
        raise InputError(f"{folder} holds no scenes; {_SOURCE}")
    report, reported, name = BenchmarkReport(), set(), ""

    def say_once(warning: str) -> None:
        if warning not in reported:
            reported.add(warning)
            say(f"{name}: {warning}")

    chosen = DriverSettings(
        settings.dataset, shot="whole", keep_everything=True, **values_of(settings, PredictorChoice)
    )
    driver = SceneDriver(chosen, predictor=predictor, progress=progress, warn=say_once)
    with without_empty_folders(settings.output):
        for done, name in enumerate(names):
            progress("scenes", done, len(names))
            try:
                scene = sample_views(dataset.scene(folder, name), settings.max_frames)
                with _predicted(scene, driver, settings, progress) as prediction:
                    report.scores[name] = _score(dataset, scene, kind, prediction, settings, progress)
            except InputError as error:
                report.failures[name] = str(error)
                say(f"{name}: {error}")
        progress("scenes", len(names), len(names))
        if report.scores:
            _write_table(report, dataset, kind, spec.name, settings)
    return report


def sample_views(scene: ReconstructionScene, count: int) -> ReconstructionScene:
    """The scene with at most `count` of its views, drawn as the benchmark draws them and kept in order; 0 keeps all."""
    if not 0 < count < len(scene.views):
        return scene
    indices = list(range(len(scene.views)))
    random.Random(_SEED).shuffle(indices)
    return ReconstructionScene(scene.name, [scene.views[index] for index in sorted(indices[:count])], scene.surface)


def fuse(
    dataset: ReconstructionDataset,
    scene: ReconstructionScene,
    prediction: Prediction,
    *,
    posed: bool = False,
    progress: Progress = ignore_progress,
) -> np.ndarray:
    """Points (K, 3) of the fused surface in the true world, from predicted depth."""
    depths, cameras = align_to_truth(scene, prediction, posed=posed)
    if dataset.scored_as_dtu:
        stacked = np.stack(list(depths))
        return consistent_points(stacked, cameras) if posed else all_points(stacked, cameras)
    volume = DistanceVolume(dataset.voxel_size, dataset.truncation)
    for index, (depth, camera) in enumerate(zip(depths, cameras, strict=True)):
        volume.integrate(depth, camera, max_depth=dataset.max_depth)
        progress("fusing depth", index + 1, len(cameras))
    return volume.surface_points()


def align_to_truth(
    scene: ReconstructionScene, prediction: Prediction, *, posed: bool = False
) -> tuple[Iterator[np.ndarray], list[Camera]]:
    """Predicted z depths (H, W) in true units, 0 at pixels that are excluded, and their cameras in the true world.

    The similarity that aligns predicted to true camera centers transforms the predicted cameras. With `posed` the true
    cameras are returned instead, and the similarity only scales the depth."""
    true, predicted = scene.camera_from_world, np.linalg.inv(prediction.poses())
    similarity = align_cameras(true, predicted)
    aligned = true if posed else transform_cameras(similarity, predicted)
    height, width = prediction.size

    def depths() -> Iterator[np.ndarray]:
        for index, view in enumerate(scene.views):
            valid = view.read_valid()
            depth = prediction.z_depth[index] * np.float32(similarity.scale)
            if valid is not None:
                small = cv2.resize(valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
                depth = np.where(small > 0, depth, np.float32(0.0))
            yield depth

    assert prediction.intrinsics is not None
    return depths(), cameras_of(width, height, prediction.intrinsics, np.linalg.inv(aligned))


def _score(
    dataset: ReconstructionDataset,
    scene: ReconstructionScene,
    kind: BenchmarkKind,
    prediction: Prediction,
    settings: BenchmarkSettings,
    progress: Progress,
) -> dict[str, Any]:
    if kind == "pose":
        predicted = np.linalg.inv(prediction.poses())
        return asdict(score_pair_poses(predicted, scene.camera_from_world))
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


@contextmanager
def _predicted(
    scene: ReconstructionScene, driver: SceneDriver, settings: BenchmarkSettings, progress: Progress
) -> Iterator[Prediction]:
    """The prediction of all views of a scene at once, whose frames lie in a temporary folder meanwhile."""
    settings.output.mkdir(parents=True, exist_ok=True)
    with working_folder(settings.output / "views") as working:
        source = _SceneImages(scene, settings.size_limit, progress)

        def known(frames: Frames) -> Views:
            if not settings.posed:
                return Views(frames)
            poses = np.linalg.inv(scene.camera_from_world)
            intrinsics = [scale @ view.intrinsics for scale, view in zip(source.scales, scene.views, strict=True)]
            return Views(frames, world_from_camera=poses, intrinsics=np.stack(intrinsics))

        workspace = StreamWorkspace(working / "views", {}, resume=False)
        driven = driver.scene(workspace, source=source, known=known, motion_stage=False, together=True)
        assert driven.prediction is not None
        yield driven.prediction


class _SceneImages:
    """The images of a scene as a source of frames. Images of slightly different sizes are brought to that of the first
    one."""

    is_live = is_video = False
    selection = ""
    ended: str | None = None
    notes: Sequence[str] = ()
    description: dict[str, Any] = {}

    def __init__(self, scene: ReconstructionScene, max_size: int, progress: Progress) -> None:
        self.title, self.total = scene.name, len(scene.views)
        self._scene, self._max_size, self._progress = scene, max_size, progress
        #: from the pixels of the views to those of the frames, (3, 3) each
        self.scales: list[np.ndarray] = []

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        size = None
        for index, view in enumerate(self._scene.views[skip:], start=skip):
            image = view.read()
            height, width = image.shape[:2]
            size = size or fitted_size(width, height, self._max_size)
            self.scales.append(np.diag([size[0] / width, size[1] / height, 1.0]))
            self._progress(f"{self.title}: reading", index + 1, self.total)
            yield DecodedImage(index, index / ASSUMED_RATE, resize_image(image, *size))

    def frame_name(self, index: int) -> str:
        return self._scene.views[index].name


def _write_table(
    report: BenchmarkReport, dataset: ReconstructionDataset, kind: str, method: str, settings: BenchmarkSettings
) -> None:
    columns = _POSE_COLUMNS if kind == "pose" else _SURFACE_COLUMNS
    what = "relative poses" if kind == "pose" else f"surface, {'true' if settings.posed else 'predicted'} cameras"
    table = Table(f"{dataset.title}: {what}, {method}", "scene", columns)
    table.rows = dict(report.scores)
    table.add_mean()
    name = f"{dataset.name}_{kind}{'_posed' if settings.posed else ''}"
    report.table = write_tables(settings.output / "evaluation", name, [table], latex=False)

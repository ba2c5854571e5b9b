"""Benchmarks on a few images of a scene: point maps of rooms as in CUT3R's evaluation, and relative poses on CO3Dv2 as
in VGGT's and StreamVGGT's.

The results of each scene are kept in `evaluation/` of the output folder; with the same settings they are used again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.driver.settings import PredictorChoice
from dynamic_predictor.evaluation.datasets.co3d import DRAWN_IMAGES, Co3dSequence, draw_sequences
from dynamic_predictor.evaluation.datasets.point_map_scenes import POINT_MAP_DATASETS, PointMapView
from dynamic_predictor.evaluation.distribution import (
    Engine,
    OneProcess,
    Outcome,
    OutcomeFiles,
    Work,
    common_failure,
    for_each,
)
from dynamic_predictor.evaluation.predicting_work import PredictingWork, Warn
from dynamic_predictor.evaluation.result_files import TaskResults, write_results
from dynamic_predictor.evaluation.results_folder import without_empty_folders
from dynamic_predictor.evaluation.scores.pair_poses import AUC_LIMITS, pair_errors, scores_of_pairs
from dynamic_predictor.evaluation.scores.point_clouds import normals_of, register, score_point_clouds
from dynamic_predictor.evaluation.scores.point_maps import align_point_maps, central_window
from dynamic_predictor.evaluation.tables import Column, Table, write_tables
from scene.camera import Camera
from scene.errors import InputError
from scene.option import values_of
from scene.progress import Progress, ignore_progress

#: of the registration, in meters
_REGISTRATION_LIMIT = 0.1
_POINT_MAP_PROTOCOL = (
    "Every 200th image of the test sequences of 7-Scenes, every 500th of Neural RGB-D. Predicted depth and cameras "
    "give points, true depth is taken from the nearest pixel at their size. In the frame of the first camera, median z "
    "and median distance from the median point are matched to the truth; the central 224x224 pixels with true depth "
    "are registered (point to point, 0.1 m, 30 iterations) and scored; normals are those of 30 neighbors. Means over "
    "scenes."
)
_CO3D_PROTOCOL = (
    "Images of each test sequence with 50 or more are drawn at random, by one generator for all categories in "
    "alphabetical order. Errors of relative rotation and of the direction of relative translation (opposite ones count "
    "as equal) of all pairs; area under the share of pairs with both errors below 1, 2, ... degrees. Pairs of a "
    "category together, means over categories."
)
_POINT_MAP_COLUMNS = (
    Column("accuracy", "Acc mean"),
    Column("accuracy_median", "Acc med"),
    Column("completion", "Comp mean"),
    Column("completion_median", "Comp med"),
    Column("normal_consistency", "NC mean", better="higher"),
    Column("normal_consistency_median", "NC med", better="higher"),
)
_CO3D_COLUMNS = tuple(Column(f"auc_{limit}", f"AUC@{limit}", 1, 100.0, "higher") for limit in reversed(AUC_LIMITS))


@dataclass(frozen=True)
class ViewBenchmarkSettings(PredictorChoice):
    """The predictor, the data set, and the folder for the results."""

    dataset: str
    data_folder: Path
    output: Path
    #: scenes, sequences or categories; None: all
    names: tuple[str, ...] | None = None
    #: of rooms: the first N of the protocol's images, of CO3Dv2: images that are drawn; None: as published
    max_frames: int | None = None
    #: results of earlier runs are not used again
    overwrite: bool = False


@dataclass
class ViewBenchmarkReport:
    """The result of a benchmark; without tables in a process that is not the first."""

    #: figures by the name of the scene
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: as text
    table: str = ""
    #: the reason, one sentence, by the name of the scene that failed
    failures: dict[str, str] = field(default_factory=dict)
    #: why the protocol leaves a scene out
    left_out: dict[str, str] = field(default_factory=dict)


def run_point_maps(
    settings: ViewBenchmarkSettings,
    *,
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
) -> ViewBenchmarkReport:
    """Accuracy, completion and normal consistency of rooms of a data set of `POINT_MAP_DATASETS`.

    `say` receives warnings and reasons of failures. Raises `InputError` for a missing data set, for a predictor without
    cameras, and for a failure that all scenes share."""
    dataset = POINT_MAP_DATASETS[settings.dataset]
    folder = settings.data_folder / dataset.folder
    if not folder.is_dir():
        raise InputError(f"{dataset.title} is not in {folder}; {dataset.source}")
    names = list(dict.fromkeys(settings.names or dataset.list_scenes(folder)))
    if not names:
        raise InputError(f"{folder} holds no scenes; {dataset.source}")
    work = PointMapWork(settings, progress=progress, warn=say)
    report = _run(settings, "mv_recon", names, work, engine, progress, say)
    if report.scores and (engine is None or engine.is_first):
        table = Table(f"{dataset.title}: points as in CUT3R, {settings.spec.name}", "scene", _POINT_MAP_COLUMNS)
        table.rows = dict(report.scores)
        table.add_mean()
        keys = [key for key, value in next(iter(report.scores.values())).items() if isinstance(value, float)]
        overall = {key: float(np.mean([scores[key] for scores in report.scores.values()])) for key in keys}
        _write(settings, "mv_recon", _POINT_MAP_PROTOCOL, report, table, overall)
    return report


def run_co3d(
    settings: ViewBenchmarkSettings,
    *,
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
) -> ViewBenchmarkReport:
    """Relative poses on CO3Dv2; the predictor's seed also draws the images. `say` receives warnings and reasons of
    failures. Raises `InputError` for a missing data set, for a predictor without cameras, for unknown names, and for a
    failure that all sequences share."""
    count = settings.max_frames or DRAWN_IMAGES
    if count < 2:
        raise InputError("Relative poses need at least two images; use --max_frames 2 or more.")
    drawn, left_out = draw_sequences(settings.data_folder, count=count, seed=settings.seed)
    all_names = [*(sequence.name for sequence in drawn), *left_out]
    wanted = _wanted(settings.names, all_names)
    chosen = [sequence for sequence in drawn if sequence.name in wanted]
    left_out = {name: reason for name, reason in left_out.items() if name in wanted}
    if not chosen:
        raise InputError(f"No sequence of CO3Dv2 is long enough: {'; '.join(left_out.values())}.")
    work = Co3dWork(settings, chosen, progress=progress, warn=say)
    report = _run(settings, "relpose", [sequence.name for sequence in chosen], work, engine, progress, say)
    report.left_out = left_out
    if report.scores and (engine is None or engine.is_first):
        categories: dict[str, list[Mapping[str, Any]]] = {}
        for name, figures in report.scores.items():
            categories.setdefault(name.split("/")[0], []).append(figures)
        groups = {name: _pooled(members) for name, members in categories.items()}
        table = Table(f"CO3Dv2: relative poses in %, {settings.spec.name}", "category", _CO3D_COLUMNS)
        table.rows = dict(groups)
        table.add_mean()
        overall = {
            f"auc_{limit}": float(np.mean([scores[f"auc_{limit}"] for scores in groups.values()]))
            for limit in AUC_LIMITS
        }
        _write(settings, "relpose", _CO3D_PROTOCOL, report, table, overall, groups)
    return report


class PointMapWork(PredictingWork):
    """Predicts and scores one room."""

    def __init__(self, settings: ViewBenchmarkSettings, *, progress: Progress, warn: Warn) -> None:
        super().__init__(settings, settings.output, progress=progress, warn=warn)
        self.settings = settings

    def __call__(self, name: str) -> dict[str, Any]:
        dataset = POINT_MAP_DATASETS[self.settings.dataset]
        views = dataset.scene(self.settings.data_folder / dataset.folder, name)
        views = views[: self.settings.max_frames or None]
        with self.predicted([view.image for view in views]) as scene:
            if scene.z_depths is None:
                raise InputError(f"{self.choice.spec.name} finds no depth; choose another predictor.")
            cameras = scene.cameras
            predicted = [(np.asarray(scene.z_depths[index]), camera) for index, camera in enumerate(cameras)]
        return score_point_maps(predicted, views, progress=self.progress)


class Co3dWork(PredictingWork):
    """Predicts and scores one sequence."""

    def __init__(
        self,
        settings: ViewBenchmarkSettings,
        sequences: Sequence[Co3dSequence],
        *,
        progress: Progress,
        warn: Warn,
    ) -> None:
        super().__init__(settings, settings.output, progress=progress, warn=warn)
        self.sequences = {sequence.name: sequence for sequence in sequences}

    def __call__(self, name: str) -> dict[str, Any]:
        sequence = self.sequences[name]
        with self.predicted(sequence.images) as scene:
            cameras = np.stack([camera.camera_from_world for camera in scene.cameras])
        rotation, translation = pair_errors(cameras, sequence.camera_from_world, "vggt")
        return {
            **asdict(scores_of_pairs(rotation, translation)),
            "rotation_errors": rotation.tolist(),
            "translation_errors": translation.tolist(),
            "images": [image.name for image in sequence.images],
        }


def score_point_maps(
    predicted: Sequence[tuple[np.ndarray, Camera]],
    views: Sequence[PointMapView],
    *,
    progress: Progress = ignore_progress,
) -> dict[str, Any]:
    """Scores of predicted depth maps (h, w), 0 = unknown, with their cameras, against true views, as the protocol says.
    Raises `InputError` where no pixel has both predicted and true depth."""
    first_predicted, first_true = predicted[0][1].camera_from_world, np.linalg.inv(views[0].world_from_camera)
    ours, theirs, is_true, is_known = [], [], [], []
    for (depth, camera), view in zip(predicted, views, strict=True):
        true = view.read_depth()
        scale = np.diag([camera.width / true.shape[1], camera.height / true.shape[0], 1.0])
        true = cv2.resize(true, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)
        true_camera = Camera.from_intrinsics(
            camera.width, camera.height, scale @ view.intrinsics, first_true @ view.world_from_camera
        )
        theirs.append(true_camera.unproject(true))
        ours.append(camera.moved(first_predicted @ camera.world_from_camera).unproject(depth))
        is_true.append(true > 0)
        is_known.append((true > 0) & np.isfinite(depth) & (depth > 0))
    if not any(mask.any() for mask in is_known):
        raise InputError("No pixel has both predicted and true depth; nothing can be scored.")
    alignment = align_point_maps(
        [points[mask] for points, mask in zip(ours, is_known, strict=True)],
        [points[mask] for points, mask in zip(theirs, is_true, strict=True)],
    )
    window = central_window(*predicted[0][0].shape)
    cloud, true_cloud = (
        np.concatenate([points[window][mask[window]] for points, mask in zip(maps, masks, strict=True)])
        for maps, masks in ((ours, is_known), (theirs, is_true))
    )
    if not len(cloud) or not len(true_cloud):
        raise InputError("No pixel in the middle of the images has both predicted and true depth.")
    pose = views[0].world_from_camera
    cloud, true_cloud = (points @ pose[:3, :3].T + pose[:3, 3] for points in (alignment.apply(cloud), true_cloud))
    motion = register(cloud, true_cloud, _REGISTRATION_LIMIT, progress=progress)
    cloud = motion.apply_to_points(cloud)
    normals, true_normals = normals_of(cloud, progress=progress), normals_of(true_cloud, progress=progress)
    return asdict(score_point_clouds(cloud, true_cloud, normals, true_normals, progress=progress))


def _run(
    settings: ViewBenchmarkSettings,
    task: str,
    names: Sequence[str],
    work: Work,
    engine: Engine | None,
    progress: Progress,
    say: Callable[[str], None],
) -> ViewBenchmarkReport:
    if not settings.spec.cameras:
        raise InputError(f"The predictor {settings.spec.name} finds no cameras; choose another one.")
    report = ViewBenchmarkReport()
    choice = {**values_of(settings, PredictorChoice), "device": None, "size": settings.size_limit}
    fingerprint = {"data": settings.dataset, "frames": settings.max_frames, **choice}
    folder = settings.output / "evaluation" / f"{task}_{settings.dataset}"
    files = OutcomeFiles(folder, fingerprint, resume=not settings.overwrite)
    said: set[str] = set()

    def note(outcome: Outcome) -> None:
        if outcome.failure is not None and outcome.failure not in said:
            said.add(outcome.failure)
            say(f"{outcome.item}: {outcome.failure}")

    with without_empty_folders(settings.output):
        outcomes = for_each(
            names, work, engine or OneProcess(), files=files, done=note, progress=progress, stage="scenes"
        )
    reason = common_failure(outcomes.values())
    if reason is not None and len(outcomes) == len(names):
        raise InputError(reason)
    for name, outcome in outcomes.items():
        if outcome.failure is None:
            report.scores[name] = outcome.value
        else:
            report.failures[name] = outcome.failure
            if outcome.traceback:
                (folder / f"{files.path(name).stem}_error.txt").write_text(outcome.traceback)
    return report


def _write(
    settings: ViewBenchmarkSettings,
    task: Any,
    protocol: str,
    report: ViewBenchmarkReport,
    table: Table,
    overall: Mapping[str, Any],
    groups: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    size = settings.size_limit
    protocol = f"{protocol} Long side at most {size} pixels; seed {settings.seed}."
    results = TaskResults(
        task, settings.dataset, settings.spec.name, protocol, report.scores, overall, groups or {},
        report.failures, report.left_out,
    )  # fmt: skip
    write_results(settings.output, results)
    report.table = write_tables(settings.output / "evaluation", f"{settings.dataset}_{task}", [table])


def _wanted(names: Sequence[str] | None, known: Sequence[str]) -> set[str]:
    """The names of the sequences that the user chose by their own names or those of their categories."""
    if names is None:
        return set(known)
    chosen = {name for name in known if name in names or name.split("/")[0] in names}
    unknown = [name for name in names if not any(entry == name or entry.split("/")[0] == name for entry in chosen)]
    if unknown:
        categories = ", ".join(dict.fromkeys(name.split("/")[0] for name in known))
        raise InputError(f"CO3Dv2 has no {', '.join(unknown)} on the disk; there are: {categories}.")
    return chosen


def _pooled(sequences: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The scores of the pairs of several sequences together."""
    rotation, translation = (
        np.concatenate([np.asarray(scores[name], np.float64) for scores in sequences])
        for name in ("rotation_errors", "translation_errors")
    )
    return asdict(scores_of_pairs(rotation, translation))

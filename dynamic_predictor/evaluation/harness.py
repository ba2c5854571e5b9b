"""Runs a predictor on the clips of a data set, scores the scenes and writes tables.

Finished scenes are kept: a repeated run skips the clips that are already predicted.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynamic_predictor.contract import Views
from dynamic_predictor.driver.motion_masks import predicted_masks
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings, PredictorChoice
from dynamic_predictor.driver.shot_choice import WHOLE
from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence, shot_name
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.evaluation.clip_results import restored_scores, write_clip_results
from dynamic_predictor.evaluation.das3r_files import write_error_log, write_metric_file
from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.datasets.registry import OpenDataset, open_dataset
from dynamic_predictor.evaluation.distribution import Engine, Outcome, OutcomeFiles, common_failure, for_each
from dynamic_predictor.evaluation.results_folder import Layout, ResultsFolder, check_scene_folder, without_empty_folders
from dynamic_predictor.evaluation.scores.depth import Alignment
from dynamic_predictor.evaluation.scores.masks import MaskScores
from dynamic_predictor.evaluation.scores.poses import PoseScores, plot_trajectory
from dynamic_predictor.evaluation.scores.scoring import (
    annotated_masks,
    poses_of,
    score_scene_depth,
    score_scene_masks,
    score_scene_poses,
)
from dynamic_predictor.evaluation.single_images import score_single_images
from dynamic_predictor.evaluation.summary import write_summary
from scene.errors import InputError
from scene.files.recovery import working_folder
from scene.folder import save_scene
from scene.formats.das3r import write_das3r
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.media.image_header import read_header
from scene.open_scene import open_scene
from scene.option import values_of
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

Kind = Literal["pose", "depth", "mask"]


@dataclass(frozen=True)
class EvaluationSettings(PredictorChoice):
    """The predictor to run, the clips to run it on, and the folder for the results. A `flow` of None or "auto" is that
    of the published figures."""

    dataset: str
    output: Path
    data_folder: Path = Path("data")
    #: None: the clips for which figures are published
    clips: tuple[str, ...] | None = None
    #: with `clips` None: every clip of the data set
    all_clips: bool = False
    #: per clip; None: as many as published figures use; 0: all
    max_frames: int | None = None
    stride: int = 1
    #: annotated masks in place of predicted ones
    use_true_masks: bool = False
    #: masks of another source in place of the predictor's own, see `driver.mask_source`
    masks_from: str | None = None
    #: the true focal length in place of an estimated one
    use_true_focal: bool = False
    layout: Layout = "scene"
    depth_alignments: tuple[Alignment, ...] = ("scale", "scale_shift_adam")
    #: depth of each image of a clip is predicted and aligned alone ("mono depth")
    each_image_alone: bool = False
    overwrite: bool = False


@dataclass
class EvaluationReport:
    """The result of `evaluate`."""

    #: as text
    tables: list[str]
    #: the reason, one sentence, by the name of the clip that failed
    failures: dict[str, str]
    #: names of the clips that have no truth of the requested kind
    without_truth: list[str]
    #: how many clips were processed
    clips: int


def evaluate(
    settings: EvaluationSettings,
    kind: Kind,
    *,
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> EvaluationReport:
    """Predicts every clip that has no scene yet, scores all clips and writes tables and result files.

    `engine` distributes the clips; in a process that is not its first, nothing is written for all clips together. `say`
    receives a sentence when a clip is started, `warn` a sentence for each warning. A clip that fails does not stop the
    others: the report names the reason, and the traceback of an unexpected exception is written to
    `evaluation/<clip>_error.txt`. Raises `InputError` when the settings fail for every clip; this is assumed as soon as
    two clips fail for the same reason before any clip succeeds.
    """
    folder = ResultsFolder(settings.output)
    with without_empty_folders(folder.tables()):
        dataset = open_dataset(settings.dataset, settings.data_folder)
        all_clips = settings.all_clips or (settings.each_image_alone and dataset.dataset.all_clips_alone)
        names = list(dict.fromkeys(settings.clips or dataset.clip_names(all_clips=all_clips)))
        evaluator = _ClipEvaluator(settings, dataset, progress, say, warn)
        report = EvaluationReport([], {}, [], len(names))

        def note(outcome: Outcome) -> None:
            if outcome.failure is None:
                return
            if outcome.failure not in report.failures.values():
                warn(f"{outcome.item}: {outcome.failure}")
            report.failures[outcome.item] = outcome.failure
            if outcome.traceback:
                path = folder.table(f"{folder.scene(outcome.item).name}_error", "txt")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(outcome.traceback)

        files = None if engine is None else OutcomeFiles(folder.tables() / f"outcomes_{kind}", resume=False)
        outcomes = for_each(
            names, partial(evaluator.evaluate, kind=kind), engine, files=files, done=note, progress=progress
        )
        reason = common_failure(outcomes.values())
        if reason is not None and len(outcomes) == len(names):
            raise InputError(reason)  # it does not depend on the clip: missing weights, for example
        succeeded = {name: outcome.value for name, outcome in outcomes.items() if outcome.failure is None}
        report.without_truth = [name for name, value in succeeded.items() if value is None]
        scores = {name: restored_scores(kind, value) for name, value in succeeded.items() if value is not None}
        if engine is not None and not engine.is_first:
            return report
        if scores:
            alone = settings.each_image_alone or dataset.clip(next(iter(scores))).single_images
            arguments = (settings.dataset, kind, scores, settings.spec.name)
            deviations = _deviations(settings, dataset)
            report.tables = write_summary(folder, *arguments, with_published=not alone, deviations=deviations)
            write_clip_results(
                settings.output, kind, settings.dataset, settings.spec.name, scores, alone=alone,
                details=_details(settings), failures=report.failures,
                without_truth=dict.fromkeys(report.without_truth, "It has no truth of this kind."),
            )  # fmt: skip
        if kind == "pose" and settings.layout == "das3r":
            write_error_log(settings.output / "_error_log.txt", settings.dataset, scores, report.failures)
        return report


def predict_folder(
    source: Path,
    output: Path,
    settings: EvaluationSettings,
    *,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Predicts the user's own frames (a folder, a video or a glob pattern) and saves the scene as `output`, with a plot
    of the camera path in `output/path.png`; of a clip with cuts, a scene for each shot in `output/shot-01` and so on.

    `warn` receives a sentence for each warning. Raises `InputError` for unusable frames, for input that the predictor
    refuses, and, before any work is done, when `output` may not be written."""
    check_scene_folder(output, overwrite=settings.overwrite)
    positions = slice(None, settings.max_frames or None, settings.stride)
    with without_empty_folders(output), working_folder(output) as working:
        driver = _driver(settings, progress, warn, input=str(source))
        workspace = StreamWorkspace(working / "clip", {}, resume=False)
        try:
            shots = {output: driver.scene(workspace, source=open_source(source, frames=positions)).scene}
        except SeveralShots as several:
            warn(cuts_sentence(str(source), several.found))
            shots = {
                output / shot_name(number): _driver(settings, progress, warn, input=str(source), shot=str(number))
                .scene(workspace)
                .scene
                for number in range(1, len(several.found.shots) + 1)
            }
        for folder, scene in shots.items():
            _save(scene, folder, settings, progress)
            plot_trajectory(folder / "path.png", poses_of(scene), None, title=folder.name)


class _ClipEvaluator:
    """Predicts and scores single clips. All clips share one predictor, because loading its weights takes long."""

    def __init__(
        self,
        settings: EvaluationSettings,
        dataset: OpenDataset,
        progress: Progress,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.settings, self.dataset = _with_published_flow(dataset, settings), dataset
        self.progress, self.say, self.warn = progress, say, warn
        self.folder = ResultsFolder(settings.output)
        #: name of the clip that is worked on, for warnings
        self._clip = ""

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: they make their own driver, and print."""
        state = {key: value for key, value in self.__dict__.items() if key != "driver"}
        return {**state, "progress": ignore_progress, "say": print, "warn": print}

    def evaluate(self, name: str, kind: Kind) -> PoseScores | MaskScores | dict[str, Any] | None:
        """The scores of one clip, which is predicted first where needed; None when it has no truth of that kind."""
        clip = self.dataset.clip(name)
        if clip.single_images or self.settings.each_image_alone:
            return self._evaluate_single_images(clip, kind)
        limit = self.settings.max_frames
        limit = self.dataset.dataset.published_frames if limit is None else limit
        positions = list(range(len(clip.images)))[: limit or None][:: self.settings.stride]
        clip = clip.select(positions)
        made_by = self._scene_settings(positions)
        if not self.folder.has_scene(name, made_by, overwrite=self.settings.overwrite):
            self._predict(clip, made_by)
        scene = open_scene(self.folder.scene(name))
        record = self.folder.record(name)
        if kind == "pose":
            scores = score_scene_poses(scene, clip)
            plot_trajectory(self.folder.plot(name), poses_of(scene), clip.world_from_cameras, title=name)
            if scores is not None and self.settings.layout == "das3r":
                metric_file = self.settings.output / f"{self.folder.scene(name).name}_eval_metric.txt"
                write_metric_file(metric_file, name, scores)
        elif kind == "depth":
            alignments = self.settings.depth_alignments
            scores = score_scene_depth(scene, clip, self.settings.dataset, alignments, progress=self.progress)
        else:
            scores = score_scene_masks(scene, clip, progress=self.progress)
        if scores is not None:
            record[kind] = scores if isinstance(scores, dict) else asdict(scores)
            self.folder.write_record(name, record)
        return scores

    def _predict(self, clip: DatasetClip, made_by: dict[str, Any]) -> None:
        folder = self.folder.scene(clip.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        check_scene_folder(folder, overwrite=self.settings.overwrite)
        with working_folder(folder) as working:
            workspace = StreamWorkspace(working / "clip", {}, resume=False)
            settings, begin = self.settings, 0.0

            def known(frames: Frames) -> Views:
                nonlocal begin
                begin = time.perf_counter()
                self.say(f"{clip.name}: {len(frames)} frames of {frames.width}x{frames.height}")
                masks = None
                if settings.use_true_masks:
                    masks = _true_masks(clip, frames)
                elif settings.masks_from is not None:
                    folder, driver = workspace.folder / "masks_from", self.driver
                    masks = predicted_masks(
                        frames,
                        driver.settings,
                        folder,
                        self.progress,
                        driver.warn,
                        observed=workspace.observed(),
                        predictor=driver.predictor,
                    )
                return Views(
                    frames,
                    motion_masks=masks,
                    observed=workspace.observed(),
                    focal=_true_focal(clip, frames) if settings.use_true_focal else None,
                )

            self._clip = clip.name
            scene = self.driver.scene(workspace, source=open_source(clip.images), known=known).scene
            frames, seconds = scene.frames, time.perf_counter() - begin
            if clip.timestamps is not None:
                frames.timestamps = clip.timestamps
            record = {"made_by": made_by, "seconds": round(seconds, 2), "frames": len(frames)}
            # An interruption at any point must not leave a record beside a scene that it does not describe, nor a new
            # scene without a record: the record is removed before an old scene is replaced, and written before a first
            # scene is saved.
            if folder.exists():
                self.folder.delete_record(clip.name)
            else:
                self.folder.write_record(clip.name, record)
            try:
                _save(scene, folder, self.settings, self.progress)
            except BaseException:
                if not folder.exists():
                    self.folder.delete_record(clip.name)
                raise
        self.folder.write_record(clip.name, record)

    @cached_property
    def driver(self) -> SceneDriver:
        return _driver(self.settings, self.progress, lambda sentence: self.warn(f"{self._clip}: {sentence}"))

    def _evaluate_single_images(self, clip: DatasetClip, kind: Kind) -> dict[str, Any] | None:
        if kind != "depth":
            raise InputError(f"{self.settings.dataset} has single images, which only --mode=eval_depth can score.")
        if self.settings.masks_from is not None:
            raise InputError(
                f"{self.settings.dataset} has single images, in which nothing moves; leave out --masks_from."
            )
        if not self.settings.spec.single_view:
            raise InputError(
                f"The predictor {self.settings.spec.name} needs a moving camera, but {self.settings.dataset} has "
                "single images; choose a predictor with a depth network, such as das3r or da3-large."
            )
        positions = list(range(len(clip.images)))[: self.settings.max_frames or None][:: self.settings.stride]
        folder = self._images_folder(clip, positions)
        return score_single_images(
            clip.select(positions),
            self.settings.dataset,
            lambda image: self.driver.single_view(image)[1],
            folder,
            self.settings.depth_alignments,
            progress=self.progress,
        )

    def _images_folder(self, clip: DatasetClip, positions: list[int]) -> Path:
        """The folder of the predicted depth of single images, emptied unless it was made with these settings."""
        name = clip.name if clip.single_images else f"{clip.name}_mono"
        folder, made_by = self.folder.scene(name), self._scene_settings(positions)
        if not self.folder.has_scene(name, made_by, overwrite=self.settings.overwrite):
            for path in folder.glob("*depth.npy"):
                path.unlink()
            self.folder.write_record(name, {"made_by": made_by})
        return folder

    def _scene_settings(self, positions: list[int]) -> dict[str, Any]:
        """All settings on which the content of a scene depends; recorded beside the scene."""
        settings = self.settings
        return {
            "predictor": settings.spec.name,
            "predictor settings": {key: str(value) for key, value in settings.settings_of_predictor().items()},
            **({} if settings.flow is None else {"flow": settings.flow}),
            "frames": positions,
            "size": settings.size_limit,
            "seed": settings.seed,
            "layout": settings.layout,
            "masks": "true" if settings.use_true_masks else settings.masks_from or "predicted",
            "focal length": "true" if settings.use_true_focal else "predicted",
        }


def _details(settings: EvaluationSettings) -> str:
    """What the figures depend on beside their protocol, as sentences."""
    chosen = [f"Long side at most {settings.size_limit} pixels; seed {settings.seed}."]
    if settings.stride > 1:
        chosen.append(f"Every {settings.stride}. image.")
    if settings.max_frames:
        chosen.append(f"The first {settings.max_frames} images.")
    if settings.use_true_masks:
        chosen.append("Annotated masks are given.")
    if settings.masks_from is not None:
        chosen.append(f"Masks are those of {settings.masks_from}.")
    if settings.use_true_focal:
        chosen.append("The true focal length is given.")
    return " ".join(chosen)


def _deviations(settings: EvaluationSettings, dataset: OpenDataset) -> list[str]:
    """How an evaluation differs from that of published figures, in words."""
    found = []
    wanted = dataset.dataset.published_frames
    if settings.max_frames is not None and settings.max_frames != (wanted or 0):
        found.append(f"at most {settings.max_frames} frames" if settings.max_frames else "all frames")
    if settings.stride != 1:
        found.append(f"every {settings.stride}th frame")
    if settings.size_limit < settings.spec.working_size:
        found.append(f"long side {settings.size_limit}")
    if settings.use_true_masks:
        found.append("true masks")
    if settings.use_true_focal:
        found.append("true focal length")
    return found


def _with_published_flow(dataset: OpenDataset, settings: EvaluationSettings) -> EvaluationSettings:
    """Settings with the optical flow of the data set's published figures, for predictors that leave the choice open,
    unless the user chose another."""
    flow = dataset.dataset.flow
    default = getattr(settings.spec.settings_type()(), "flow", None)
    if flow is None or default != "auto" or settings.flow not in (None, "auto"):
        return settings
    return replace(settings, flow=flow)


def _driver(
    settings: EvaluationSettings, progress: Progress, warn: Callable[[str], None], **of_the_input: Any
) -> SceneDriver:
    # a protocol takes all frames of its clips, as they are
    of_the_input = of_the_input or {"input": str(settings.dataset), "shot": WHOLE, "keep_everything": True}
    chosen = DriverSettings(**of_the_input, masks_from=settings.masks_from, **values_of(settings, PredictorChoice))
    return SceneDriver(chosen, progress=progress, warn=warn)


def _save(scene: Scene, folder: Path, settings: EvaluationSettings, progress: Progress) -> None:
    if settings.layout == "das3r":
        write_das3r(scene, folder, overwrite=settings.overwrite, progress=progress)
    else:
        save_scene(scene, folder, overwrite=settings.overwrite, progress=progress)


def _true_focal(clip: DatasetClip, frames: Frames) -> float:
    """The true focal length in pixels of the frames; the median where the camera zooms."""
    if clip.intrinsics is None:
        raise InputError(f"{clip.name} has no true focal length; leave out --use_gt_focal.")
    width = read_header(clip.images[0]).width
    return float(np.median(clip.intrinsics[:, 0, 0])) * frames.width / width


def _true_masks(clip: DatasetClip, frames: Frames) -> FrameMaps:
    """Annotated masks at the size of the frames; a frame without annotation gets an empty mask."""
    if not clip.annotated_frames():
        raise InputError(f"{clip.name} has no annotated masks; leave out --use_gt_mask.")
    return annotated_masks(clip, frames.width, frames.height)

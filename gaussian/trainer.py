"""Optimizes the static Gaussians of a scene together with cameras, exposures and static weights."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaussian import held_out
from gaussian.checkpoint import restore_run, save_checkpoint
from gaussian.kernel_cores import cores_for_the_kernels
from gaussian.model_folder import names_a_model, point_cloud_path, remove_model
from gaussian.settings import TrainSettings
from gaussian.snapshot import Snapshot, take_snapshot
from gaussian.train_result import TrainResult
from gaussian.training_run import TrainingRun
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import write_json
from scene.formats.sibr import write_sibr_cameras
from scene.formats.splat_ply import save_ply
from scene.images import write_png
from scene.interruption import interruption_noted
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: a function from a trainer to the context in which it is watched
Watch = Callable[["Trainer"], AbstractContextManager[object]]


def train(
    scene: Scene,
    settings: TrainSettings,
    model_folder: Path | None,
    *,
    annotations: FrameMaps | None = None,
    progress: Progress = ignore_progress,
    resume: bool = False,
    watch: Watch | None = None,
) -> TrainResult:
    """Optimizes the static Gaussians of `scene`.

    The files of `gaussian.model_folder` are written to `model_folder`; None writes nothing. `annotations` are masks
    (H, W) in [0, 1] per frame, 1 = moves, used only for the scores of held-out frames and for `refine_test_cameras`;
    without them, the motion masks of the scene are used. With `resume`, the run continues from the checkpoint in
    `model_folder`, if there is one, and has the same result as one that was not interrupted. A scene without motion
    masks is taken as static everywhere. `watch` is entered with the trainer for as long as it advances, to show it from
    another thread. Ctrl-C writes a checkpoint and raises KeyboardInterrupt. Progress stages:
    "initializing", "optimizing".

    Raises `InputError` if the scene has no static pixel or no depth, if no Gaussian is left at the end, if the
    checkpoint is of another scene or other settings, or if `model_folder` cannot be written.
    """
    trainer = Trainer(scene, settings, model_folder, annotations=annotations, progress=progress, resume=resume)
    watched = watch(trainer) if watch is not None else nullcontext()
    with cores_for_the_kernels(trainer.device), interruption_noted() as interrupted, watched:
        while trainer.advance():
            if interrupted.is_set():
                trainer.save()
                raise KeyboardInterrupt
    return trainer.finish()


class Trainer:
    """An optimization step by step: `advance` until it returns 0, or for as long as one likes, then `finish`.

    One thread calls `advance`, `save` and `finish`. Any thread may read the properties, change `learning_rate_scale`,
    and call `request_snapshot` and `paint`, which the next `advance` answers, `advance(0)` too: the optimization waits
    for nobody.
    """

    def __init__(
        self,
        scene: Scene,
        settings: TrainSettings,
        model_folder: Path | None,
        *,
        annotations: FrameMaps | None = None,
        progress: Progress = ignore_progress,
        resume: bool = False,
    ) -> None:
        """Places the first Gaussians, or reads the checkpoint. Arguments and errors are those of `train`."""
        self._folder = Path(model_folder) if model_folder is not None else None
        self._annotations = annotations
        self._progress = progress
        self._snapshot: Snapshot | None = None
        self._wanted: Sequence[int] | None = None
        self._strokes: deque[tuple[int, np.ndarray, bool | None]] = deque()
        self._result: TrainResult | None = None
        self._run = TrainingRun(scene, settings)
        checkpoint = self._checkpoint
        if resume and checkpoint is not None and checkpoint.exists():
            restore_run(self._run, checkpoint)
        else:
            self._run.prepare(progress)
        #: whether settings.json is that of this run: an earlier model stays until there is something to continue from
        self._begun = self._folder is None or not names_a_model(self._folder)
        if self._folder is not None:
            if not resume and checkpoint is not None:
                checkpoint.unlink(missing_ok=True)
            if self._begun:
                write_json(self._folder / "settings.json", _description(self._run, None))

    def _begin(self) -> None:
        """Says that the model in the folder is not finished, and removes an earlier one, which has other cameras."""
        if self._folder is not None and not self._begun:
            write_json(self._folder / "settings.json", _description(self._run, None))
            remove_model(self._folder)
            self._begun = True

    @property
    def _checkpoint(self) -> Path | None:
        return self._folder / "checkpoint.pt" if self._folder is not None else None

    @property
    def scene(self) -> Scene:
        """What is optimized."""
        return self._run.given

    @property
    def device(self) -> torch.device:
        """Where the Gaussians are."""
        return self._run.device

    @property
    def iteration(self) -> int:
        """The number of iterations so far."""
        return self._run.iteration

    @property
    def iterations(self) -> int:
        """The number of iterations of the whole run."""
        return self._run.settings.iterations

    @property
    def result(self) -> TrainResult | None:
        """The result, after `finish`."""
        return self._result

    @property
    def learning_rate_scale(self) -> float:
        """Multiplies all learning rates; 1 at the start."""
        return self._run.learning_rate_scale

    @learning_rate_scale.setter
    def learning_rate_scale(self, scale: float) -> None:
        self._run.learning_rate_scale = scale

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot; None before the first one."""
        return self._snapshot

    def request_snapshot(self, frames: Sequence[int] = ()) -> None:
        """Asks for a new `snapshot`, with the static weights of `frames`, at the end of the running iteration."""
        self._wanted = tuple(frames)

    def paint(self, frame: int, region: np.ndarray, moves: bool | None) -> None:
        """Says that the pixels in `region` (H, W) bool of a frame move or are static, whatever mask and evidence say;
        None takes that back. The next iterations follow it, checkpoints keep it, and `finish` writes masks with it."""
        self._strokes.append((frame, region.copy(), moves))

    def advance(self, steps: int = 1) -> int:
        """Takes up to `steps` iterations and returns how many; 0 at the end of the run, and after `finish`. Checkpoints
        are written when they are due."""
        taken = 0
        self._answer()
        with cores_for_the_kernels(self.device):
            while taken < steps and self.iteration < self.iterations and self._result is None:
                self._run.advance()
                taken += 1
                self._progress("optimizing", self.iteration, self.iterations)
                every = self._run.settings.checkpoint_every
                if (every and self.iteration % every == 0) or self.iteration == self.iterations:
                    self.save()
                self._answer()
        return taken

    def _answer(self) -> None:
        """Applies what was painted, and takes the snapshot that was asked for. After `finish` nothing can be painted,
        and the last snapshot only gets other static weights."""
        while self._strokes:
            frame, region, moves = self._strokes.popleft()
            if self._result is None:
                self._run.paint(frame, region, moves)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._snapshot = take_snapshot(self._run, wanted)

    def save(self) -> None:
        """Writes a checkpoint, from which `resume` continues; nothing without a model folder, and after `finish`."""
        if self._checkpoint is not None and self._result is None:
            save_checkpoint(self._checkpoint, self._run.state(), self._run.settings, self._run.given)
            self._begin()

    def finish(self) -> TrainResult:
        """Cleans the Gaussians up, scores held-out frames and writes the model, as it is after the iterations so far.

        The checkpoint is left as it is: call `save` before in a run that shall be continued. Raises `InputError` if no
        Gaussian is left.
        """
        if self._result is not None:
            return self._result
        self._answer()
        run = self._run
        with cores_for_the_kernels(self.device):
            run.finish()
        if len(run.gaussians) == 0:
            raise InputError(
                "No Gaussian is left at the end, because the motion masks mark nearly everything as moving; "
                "check the masks of the scene, and use other masks, another predictor or other frames."
            )
        result = _result(run)
        held_out.score(run, result, self._annotations, self._progress)
        if self._folder is not None:
            self._begin()
            _save(self._folder, run, result)
        self._snapshot = take_snapshot(run, tuple(self._snapshot.static_weights) if self._snapshot else ())
        self._result = result
        return result


def _result(run: TrainingRun) -> TrainResult:
    """The result of a finished run, before held-out frames are scored."""
    frames = range(len(run.scene.frames))
    moved = run.settings.refine_cameras or run.settings.refine_focal
    return TrainResult(
        gaussians=run.placed_gaussians(),
        cameras=[run.camera(frame) for frame in frames],
        exposures=run.exposures.values.astype(np.float32),
        static_weights=run.static_weights,
        history=run.history,
        settings=run.settings,
        test_frames=run.test_frames,
        test_cameras=("interpolated correction" if moved else "predictor") if run.test_frames else "none held out",
    )


def _description(run: TrainingRun, result: TrainResult | None) -> dict[str, Any]:
    """The content of settings.json; without the scores while there is no result yet."""
    frames = run.scene.frames
    times = list(frames.timestamps)
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    description: dict[str, Any] = {
        "settings": run.settings.to_dict(),
        "frames": list(frames.names),
        "width": frames.width,
        "height": frames.height,
        "frame_rate": (len(times) - 1) / span if span > 0 else 30.0,
        "predictor": run.scene.predictor,
        "motion_masks": run.scene.motion_masks is not None,
        "world_from_local": {
            "scale": run.world_from_local.scale,
            "translation": run.world_from_local.translation,
        },
        "test_frames": run.test_frames,
        "iterations": None,
    }
    if result is not None:
        description |= {
            "test_cameras": result.test_cameras,
            "test_metrics": result.test_metrics,
            "gaussians": len(result.gaussians),
            "iterations": run.iteration,
            "seconds": round(run.seconds, 1),
        }
    return description


def _save(folder: Path, run: TrainingRun, result: TrainResult) -> None:
    remove_model(folder)
    save_ply(point_cloud_path(folder, run.iteration), result.gaussians, sh_degree=0)
    write_sibr_cameras(folder / "cameras.json", run.scene.frames.names, result.cameras)
    write_json(folder / "exposures.json", {"exposures": result.exposures})
    write_json(folder / "history.json", {"history": result.history})
    if run.static_weights.is_painted:
        with atomic_folder(folder / "painted_masks", overwrite=True) as temporary:
            for index in range(len(run.scene.frames)):
                write_png(temporary / f"{index:05d}.png", run.static_weights.painted_motion(index) * np.uint8(255))
    # last: from here on the folder is a finished model
    write_json(folder / "settings.json", _description(run, result))

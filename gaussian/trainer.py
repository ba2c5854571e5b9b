"""Optimizes the static Gaussians of a scene together with cameras, exposures and static weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diff_gaussian_rasterization as kernels
import numpy as np
import torch

from gaussian import held_out
from gaussian.checkpoint import load_checkpoint, save_checkpoint
from gaussian.model_folder import point_cloud_path
from gaussian.settings import TrainSettings
from gaussian.train_result import TrainResult
from gaussian.training_run import TrainingRun
from scene.camera_files import save_cameras
from scene.errors import InputError
from scene.files.json_files import write_json
from scene.formats.splat_ply import save_ply
from scene.interruption import interruption_noted
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


def train(
    scene: Scene,
    settings: TrainSettings,
    model_folder: Path | None,
    *,
    annotations: FrameMaps | None = None,
    progress: Progress = ignore_progress,
    resume: bool = False,
) -> TrainResult:
    """Optimizes the static Gaussians of `scene`.

    The files of `gaussian.model_folder` are written to `model_folder`; None writes nothing. `annotations` are masks
    (H, W) in [0, 1] per frame, 1 = moves, used only for the scores of held-out frames and for `refine_test_cameras`;
    without them, the motion masks of the scene are used. With `resume`, the run continues from the checkpoint in
    `model_folder`, if there is one, and has the same result as one that was not interrupted. A scene without motion
    masks is taken as static everywhere. Ctrl-C writes a checkpoint and raises KeyboardInterrupt. Progress stages:
    "initializing", "optimizing".

    Raises `InputError` if the scene has no static pixel or no depth, if no Gaussian is left at the end, if the
    checkpoint is of another scene or other settings, or if `model_folder` cannot be written.
    """
    folder = Path(model_folder) if model_folder is not None else None
    run = TrainingRun(scene, settings)
    checkpoint = folder / "checkpoint.pt" if folder is not None else None
    if resume and checkpoint is not None and checkpoint.exists():
        run.restore(load_checkpoint(checkpoint, settings, scene))
    else:
        run.prepare(progress)
    if folder is not None:
        write_json(folder / "settings.json", _description(run, None))

    with _cores_for_the_kernels(run), interruption_noted() as interrupted:
        while run.iteration < settings.iterations:
            run.advance()
            progress("optimizing", run.iteration, settings.iterations)
            due = settings.checkpoint_every and run.iteration % settings.checkpoint_every == 0
            if checkpoint is not None and (due or interrupted.is_set() or run.iteration == settings.iterations):
                save_checkpoint(checkpoint, run.state(), settings, scene)
            if interrupted.is_set():
                raise KeyboardInterrupt
    run.finish()
    if len(run.gaussians) == 0:
        raise InputError(
            "No Gaussian is left at the end, because the motion masks mark nearly everything as moving; "
            "check the masks of the scene, and use other masks, another predictor or other frames."
        )
    result = _result(run)
    held_out.score(run, result, annotations, progress)
    if folder is not None:
        _save(folder, run, result)
    return result


def _result(run: TrainingRun) -> TrainResult:
    """The result of a finished run, before held-out frames are scored."""
    frames = range(len(run.scene.frames))
    moved = run.settings.refine_cameras or run.settings.refine_focal
    return TrainResult(
        gaussians=run.gaussians,
        cameras=[run.cameras.camera(frame) for frame in frames],
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
        "test_frames": run.test_frames,
    }
    if result is not None:
        description |= {
            "test_cameras": result.test_cameras,
            "test_metrics": result.test_metrics,
            "gaussians": len(result.gaussians),
            "seconds": round(run.seconds, 1),
        }
    return description


def _save(folder: Path, run: TrainingRun, result: TrainResult) -> None:
    save_ply(point_cloud_path(folder, run.settings.iterations), result.gaussians)
    save_cameras(folder / "cameras.json", list(run.scene.frames.names), result.cameras)
    write_json(folder / "exposures.json", {"exposures": result.exposures})
    write_json(folder / "history.json", {"history": result.history})
    write_json(folder / "settings.json", _description(run, result))


@contextmanager
def _cores_for_the_kernels(run: TrainingRun) -> Iterator[None]:
    """Limits PyTorch to one thread on a CPU, unless the kernels themselves run in PyTorch. Its threads spin after each
    operation, which slows down the threads of the kernels that follow, and its operations here are small."""
    before = torch.get_num_threads()
    if run.device.type == "cpu" and kernels.simd() != "torch":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

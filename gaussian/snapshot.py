"""What viewers see of an optimization that goes on in another thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gaussian.training_run import TrainingRun
from scene.camera import Camera
from scene.gaussians import Gaussians


@dataclass(frozen=True)
class Snapshot:
    """The state after an iteration. All of it is a copy, so it stays as it is while the optimization goes on."""

    iteration: int
    #: seconds that the iterations have taken so far
    seconds: float
    gaussians: Gaussians
    #: refined cameras of all frames
    cameras: Sequence[Camera]
    #: (frames, 3, 2) float32: gain and offset per channel
    exposures: np.ndarray
    #: as `TrainResult.history`
    history: Sequence[Mapping[str, float]]
    #: learned static weights (H, W) float32 in [0, 1] of the frames that were asked for
    static_weights: Mapping[int, np.ndarray]


def take_snapshot(run: TrainingRun, frames: Sequence[int] = ()) -> Snapshot:
    """Copies the state of `run`, with the static weights of `frames`. To be called between two iterations."""
    gaussians = run.placed_gaussians()
    copies = {name: tensor.clone() for name, tensor in gaussians.tensors().items()}
    return Snapshot(
        iteration=run.iteration,
        seconds=run.seconds,
        gaussians=replace(gaussians, **copies),
        cameras=tuple(run.camera(frame) for frame in range(len(run.scene.frames))),
        exposures=run.exposures.values.astype(np.float32),
        history=tuple(dict(entry) for entry in run.history),
        static_weights={frame: run.static_weights[frame] for frame in frames},
    )

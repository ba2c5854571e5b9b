"""A quick optimization at a small size: what the static scene looks like, known before the long optimization."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from gaussian.contributions import blending_sums
from gaussian.frame_data import scaled_size
from gaussian.kernel_cores import cores_for_the_kernels
from gaussian.rendering import render
from gaussian.schedules import Schedules
from gaussian.settings import TrainSettings
from gaussian.training_run import TrainingRun
from scene.gaussians import SH_CONSTANT, Gaussians
from scene.images import resize_image
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: long side in pixels from which images of half the size are enough
_HALVED_FROM = 384
#: learning rates are lower than those of a long optimization: a draft that learns faster also fits objects that rest
#: for a while, and then its residuals no longer show them
_SCHEDULES = Schedules(means=(0.07, 0.0015), log_scales=(5e-3, 1.5e-3), rotations=(1e-3, 5e-4))


@dataclass(frozen=True)
class DraftView:
    """One frame of a draft, at its size."""

    #: (h, w, 3) float32 in [0, 1]: the frame, and the Gaussians with its exposure
    image: np.ndarray
    render: np.ndarray
    #: (h, w) float32: sum of the blending weights, and z depth in units of the scene, 0 = unknown
    alpha: np.ndarray
    z_depth: np.ndarray


class Draft:
    """The Gaussians of a quick optimization, with cameras and exposures."""

    def __init__(self, scene: Scene, settings: TrainSettings, progress: Progress = ignore_progress) -> None:
        """Optimizes; `settings` are those of the long optimization, held-out frames included. Progress stage:
        "drafting". Raises `InputError` without depth or static pixels."""
        iterations = settings.draft_iterations
        quick = replace(settings, iterations=iterations, refine_test_cameras=False, preset="standard")
        run = TrainingRun(scene, quick)
        self._halved = max(scene.frames.width, scene.frames.height) >= _HALVED_FROM
        run.schedules = replace(_SCHEDULES, full_size=2.0) if self._halved else _SCHEDULES
        with cores_for_the_kernels(run.device):
            run.prepare(lambda stage, done, total: None)
            for done in range(iterations):
                run.advance()
                progress("drafting", done + 1, iterations)
            run.finish()
        self._run = run
        self.training_frames = list(run.training_frames)
        self.gaussians = run.placed_gaussians()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its views."""
        frames = self._run.scene.frames
        return scaled_size(frames.width, frames.height, 2 if self._halved else 1)

    def view(self, frame: int) -> DraftView:
        """What a frame shows and what the Gaussians show there."""
        width, height = self.size
        camera = self._run.camera(frame).resized(width, height)
        exposure = self._run.exposures.values[frame].astype(np.float32)
        rendered = render(self.gaussians, camera, exposure=exposure)
        image = resize_image(self._run.scene.frames.rgb8(frame), width, height).astype(np.float32) / np.float32(255)
        return DraftView(image, np.clip(rendered.image, 0.0, 1.0), rendered.alpha, rendered.z_depth)

    def share_of(self, which: np.ndarray, frame: int) -> np.ndarray:
        """(h, w) float32: the share of the Gaussians at `which` (N,) bool in the render of a frame."""
        marks = torch.from_numpy(which.astype(np.float32))[:, None, None].expand(-1, 1, 3)
        local = self._run.gaussians
        colored = Gaussians(
            local.means, local.log_scales, local.rotations, local.logit_opacities, (marks - 0.5) / SH_CONSTANT
        )
        colored = replace(colored, world_from_local=self._run.world_from_local)
        width, height = self.size
        return render(colored, self._run.camera(frame).resized(width, height)).image[..., 0]

    def sums(self, frames: Sequence[int], maps: Sequence[np.ndarray]) -> np.ndarray:
        """(N, F, 3): for each of the F `frames` and each Gaussian the sums of three `maps` (h, w, 3) over its pixels,
        weighted by its share of them."""
        width, height = self.size
        found = []
        with cores_for_the_kernels(self._run.device):
            for frame, values in zip(frames, maps, strict=True):
                view = self._run.cameras.view(frame, width, height)
                tensor = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32))
                found.append(blending_sums(self._run.gaussians, view, tensor).numpy())
        return np.stack(found, axis=1)

"""An optimization as it stands after some iterations: all its state, and how one iteration changes it."""

import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from gaussian import gradient_renderer
from gaussian.contributions import Survey
from gaussian.densification import create_strategy
from gaussian.densification.pruning import PruningSettings, useless
from gaussian.densification.strategy import DensificationContext
from gaussian.exposure import ExposureCompensation
from gaussian.frame_data import FrameData, InverseDepths, scaled_size
from gaussian.gradient_renderer import CameraGradients, Rendered
from gaussian.hole_filling import fill_holes
from gaussian.initialization import InitializationSettings, initialize
from gaussian.losses import image_loss, window_weight
from gaussian.optimizer import Edit, GaussianOptimizer
from gaussian.poses import CameraRefinement
from gaussian.rasterize import usable_device
from gaussian.schedules import Schedules, exponential
from gaussian.settings import TrainSettings
from gaussian.staticness import StaticWeights
from scene.camera import Camera
from scene.errors import InputError
from scene.gaussians import Gaussians, morton_order
from scene.progress import Progress
from scene.scene import Scene

#: images that a survey during the run looks at; the one at the end looks at all
_SURVEY_IMAGES = 24
_CPU = torch.device("cpu")


@dataclass
class _Report:
    """Sums since the last entry in the history."""

    #: on a GPU a scalar there
    loss: float | Tensor = 0.0
    psnr: float = 0.0
    count: int = 0


class TrainingRun:
    """State of an optimization. `advance` does one iteration; `state` and `restore` are for checkpoints."""

    def __init__(self, scene: Scene, settings: TrainSettings, schedules: Schedules | None = None) -> None:
        self.scene = scene
        self.settings = settings
        self.schedules = schedules or Schedules()
        count = len(scene.frames)
        self.test_frames = settings.test_frames(count)
        held_out = set(self.test_frames)
        self.training_frames = [frame for frame in range(count) if frame not in held_out]
        if not self.training_frames:
            raise InputError("Every frame is held out for testing, so none is left to train; hold out fewer.")
        #: where the Gaussians, images and weights are while they are optimized; edits and all else is on the CPU
        self.device = torch.device(usable_device(settings.device))
        self.iteration = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.cameras = CameraRefinement(scene.cameras)
        self.exposures = ExposureCompensation(count)
        self.static_weights = StaticWeights(scene.motion_masks, count, scene.frames.height, scene.frames.width)
        self.strategy = create_strategy(settings.densification)
        self.optimizer = GaussianOptimizer(Gaussians.empty())
        self.typical_depth = 1.0
        self._data = FrameData(scene, self.device)
        self._inverse_depths: InverseDepths | None = None
        self._queue: list[int] = []
        self._report = _Report()
        self._weight_cache: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @property
    def gaussians(self) -> Gaussians:
        return self.optimizer.gaussians

    @property
    def done(self) -> float:
        """Share of the run that is done."""
        return self.iteration / max(1, self.settings.iterations)

    def prepare(self, progress: Progress) -> None:
        """Places the first Gaussians and reads the depths."""
        limits = InitializationSettings(max_count=max(1000, min(60_000, self.settings.max_gaussians)))
        gaussians = initialize(
            self.scene, self.training_frames, limits, sh_degree=self.settings.sh_degree, progress=progress
        )
        self.optimizer = GaussianOptimizer(gaussians)
        self._measure_depth()
        self._read_inverse_depths()
        self.optimizer.to(self.device)

    def _measure_depth(self) -> None:
        """The typical depth of the scene."""
        assert self.scene.z_depths is not None
        some = self.training_frames[:: max(1, len(self.training_frames) // 8)]
        samples = [self.scene.z_depths[frame][::8, ::8] for frame in some]
        values = np.concatenate([sample[np.isfinite(sample) & (sample > 0)] for sample in samples])
        if len(values) == 0:
            distances = (self.gaussians.means - self._camera_center()).norm(dim=1)
            values = distances.numpy() if len(distances) else np.ones(1)
        self.typical_depth = float(np.median(values))

    def _read_inverse_depths(self) -> None:
        if self.settings.depth_weight > 0:
            self._inverse_depths = InverseDepths(self.scene, self.training_frames)

    def advance(self) -> None:
        """One iteration: one image, one step of everything that learns."""
        started = time.perf_counter()
        done, schedules = self.done, self.schedules
        frame = self._next_frame()
        factor = schedules.resolution_factor(done) if self.settings.resolution_schedule else 1
        camera = self._camera(frame, factor)
        target = self._data.image(frame, factor)
        weight, weight_of_window = self._weights(frame, factor)
        degree = schedules.active_sh_degree(done, self.settings.sh_degree)
        background = torch.rand(3, generator=self.generator)
        rendered = self.optimizer.render(camera, degree, background)
        gain, offset = (
            torch.from_numpy(self.exposures.values[frame, :, k].astype(np.float32)).view(3, 1, 1).to(self.device)
            for k in (0, 1)
        )
        corrected = rendered.image * gain + offset
        # every second iteration is enough for what changes slowly
        even = self.iteration % 2 == 0
        observing = even and self.settings.learn_staticness and done >= schedules.staticness_start
        loss, slope, residual = image_loss(
            corrected, target, weight, weight_of_window, self.settings.ssim_weight, residual=observing
        )
        if self.settings.exposure and done >= schedules.exposure_start:
            rate = exponential(*schedules.exposure, done)
            sums = torch.stack([(slope * rendered.image).sum(dim=(1, 2)), slope.sum(dim=(1, 2))], dim=1)
            self.exposures.step(frame, sums.cpu().numpy().astype(np.float64), rate)
        alpha_slope, depth_slope = None, None
        if not even:
            alpha_slope, depth_slope = self._depth_slopes(frame, rendered, weight, done)
        rates = schedules.gaussian_rates(done, self.typical_depth / self.scene.cameras[0].fx)
        count = max(1, len(self.optimizer.geometry))
        gradients = self.optimizer.descend(
            slope * gain,
            alpha_slope,
            depth_slope,
            rates,
            # the means of opacity and scale, both small (as MCMC has them)
            opacity_pull=self.settings.opacity_pull / count,
            scale_pull=self.settings.scale_pull / (3 * count * self.typical_depth),
        )
        self.strategy.perturb(self.optimizer.geometry, rates["means"], self.generator)
        self._step_camera(frame, factor, gradients, done)
        if residual is not None:
            self._observe(frame, residual, target, rendered.alpha)
        self.iteration += 1
        self._note(loss, corrected, target, weight, started)
        if self.strategy.due(self.iteration, self.settings.iterations):
            self._densify()
        self.seconds += time.perf_counter() - started

    def _next_frame(self) -> int:
        if not self._queue:
            order = torch.randperm(len(self.training_frames), generator=self.generator)
            self._queue = [self.training_frames[int(k)] for k in order]
            if self.iteration:
                self.exposures.center(self.training_frames)
        return self._queue.pop()

    def _camera(self, frame: int, factor: int) -> Camera:
        camera = self.cameras.camera(frame)
        return camera.resized(*scaled_size(camera.width, camera.height, factor)) if factor > 1 else camera

    def _weights(self, frame: int, factor: int) -> tuple[Tensor, Tensor]:
        """Static weights (h, w) of pixels and of SSIM windows, kept until the frame's evidence changes."""
        key = (frame, factor)
        if key not in self._weight_cache:
            if len(self._weight_cache) > 128:
                self._weight_cache.clear()
            weight = self.static_weights[frame]
            if factor > 1:
                size = scaled_size(weight.shape[1], weight.shape[0], factor)
                weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
            pair = torch.from_numpy(weight), torch.from_numpy(window_weight(weight))
            self._weight_cache[key] = pair[0].to(self.device), pair[1].to(self.device)
        return self._weight_cache[key]

    def _depth_slopes(
        self, frame: int, rendered: Rendered, weight: Tensor, done: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Derivatives, by alpha and depth, of the weighted mean of |inverse depth / the scene's - 1|, for every second
        iteration."""
        strength = 2 * self.settings.depth_weight * (1 - done) ** 2
        if self._inverse_depths is None or strength < 1e-4:
            return None, None
        height, width = rendered.alpha.shape
        maps = self._inverse_depths.at(frame, width, height)
        inverse, trust = (torch.from_numpy(values).to(self.device) for values in maps)
        covered = (rendered.alpha > 0.5) & (inverse > 0)
        trust = trust * weight * covered
        total = float(trust.sum())
        if total < 1:
            return None, None
        depth = rendered.depth.clamp_min(1e-6)
        ratio = rendered.alpha / (depth * inverse.clamp_min(1e-12))
        slope = torch.sign(ratio - 1) * trust * (strength / total)
        return slope * ratio / rendered.alpha.clamp_min(0.5), -slope * ratio / depth

    def _step_camera(self, frame: int, factor: int, gradients: CameraGradients, done: float) -> None:
        schedules = self.schedules
        if done < schedules.pose_start:
            return
        if self.settings.refine_cameras:
            rotation = exponential(*schedules.pose, done) / self.scene.cameras[0].fx
            self.cameras.step_pose(frame, gradients.camera_from_world, rotation, rotation * self.typical_depth)
        if self.settings.refine_focal:
            fx, fy = gradients.intrinsics[:2] / factor
            self.cameras.step_focal(fx, fy, exponential(*schedules.log_focal, done))

    def _observe(self, frame: int, residual: Tensor, target: Tensor, alpha: Tensor) -> None:
        seen = (values.cpu().numpy() for values in (residual, target.permute(1, 2, 0), alpha))
        self.static_weights.observe(frame, *seen)
        for key in [key for key in self._weight_cache if key[0] == frame]:
            del self._weight_cache[key]

    def _note(self, loss: float | Tensor, image: Tensor, target: Tensor, weight: Tensor, started: float) -> None:
        report = self._report
        report.loss += loss
        report.count += 1
        if report.count % 10 == 1:
            error = ((image - target.float() / 255) ** 2).mean(dim=0)
            mean = float((weight * error).sum() / weight.sum().clamp_min(1e-6))
            report.psnr = -10 * float(np.log10(max(mean, 1e-10)))
        if self.iteration % 50 == 0 or self.iteration == self.settings.iterations:
            self.history.append(
                {
                    "iteration": self.iteration,
                    "loss": float(report.loss) / report.count,
                    "psnr": report.psnr,
                    "gaussians": len(self.optimizer.geometry),
                    "seconds": round(self.seconds + time.perf_counter() - started, 2),
                }
            )
            self._report = _Report()

    def survey(self, frames: list[int], factor: int) -> Survey:
        """What each Gaussian is worth in the images of `frames` at 1/factor of their size."""
        survey = Survey.empty(len(self.gaussians), self.device)
        degree = self.schedules.active_sh_degree(self.done, self.settings.sh_degree)
        for frame in frames:
            target = self._data.image(frame, factor).float() / 255
            weight = self._weights(frame, factor)[0]
            camera = self._camera(frame, factor)
            gradient_renderer.add_to_survey(survey, self.gaussians, camera, degree, weight, target, factor**2)
        return survey

    def _densify(self) -> None:
        frames = self.training_frames
        picked = [frames[int(k)] for k in np.linspace(0, len(frames) - 1, min(_SURVEY_IMAGES, len(frames)))]
        factor = max(2, self.schedules.resolution_factor(self.done)) if self.settings.resolution_schedule else 2
        survey = self.survey(picked, factor).to(_CPU)
        self.optimizer.to(_CPU)
        drop = useless(self.gaussians, survey, self._camera_center(), PruningSettings(min_static=0.0))
        keep = torch.nonzero(~drop)[:, 0]
        self._apply(Edit(keep, Gaussians.empty(self.gaussians.sh_degree)))
        survey = Survey(survey.static[keep], survey.shown[keep], survey.error[keep])
        context = DensificationContext(self.done, self.settings.max_gaussians, survey, self.generator)
        self._apply(self.strategy.edit(self.gaussians, context))
        order = morton_order(self.gaussians.means)
        self._apply(Edit(order, Gaussians.empty(self.gaussians.sh_degree)))
        self.optimizer.to(self.device)

    def _camera_center(self) -> Tensor:
        """The middle of all cameras, (3,)."""
        centers = [camera.center for camera in self.scene.cameras]
        return torch.from_numpy(np.median(np.stack(centers), axis=0).astype(np.float32))

    def _apply(self, edit: Edit) -> None:
        self.optimizer.apply(edit)

    def finish(self) -> None:
        """Removes what no static pixel of any training frame supports, gives held-out frames their cameras, and closes
        the holes behind what never steps aside."""
        frames = self.training_frames[:: max(1, len(self.training_frames) // 200)]
        survey = self.survey(frames, 2).to(_CPU)
        self.optimizer.to(_CPU)
        drop = useless(self.gaussians, survey, self._camera_center(), PruningSettings())
        keep = torch.nonzero(~drop)[:, 0]
        self._apply(Edit(keep, Gaussians.empty(self.gaussians.sh_degree)))
        self.exposures.center(self.training_frames)
        self.cameras.interpolate(self.test_frames, self.training_frames)
        self.exposures.interpolate(self.test_frames, self.training_frames)
        cameras = [self.cameras.camera(frame) for frame in self.training_frames]
        self.optimizer = GaussianOptimizer(fill_holes(self.gaussians, cameras))

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as tensors, numbers, strings, lists and dicts."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "typical_depth": self.typical_depth,
            "history": self.history,
            "queue": self._queue,
            "report": [float(self._report.loss), self._report.psnr, self._report.count],
            "generator": self.generator.get_state(),
            "optimizer": self.optimizer.state(),
            "cameras": self.cameras.state(),
            "exposures": self.exposures.state(),
            "static_weights": self.static_weights.state(self.training_frames),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.iteration = int(state["iteration"])
        self.seconds = float(state["seconds"])
        self.history = list(state["history"])
        self._queue = [int(frame) for frame in state["queue"]]
        loss, psnr, count = state["report"]
        self._report = _Report(float(loss), float(psnr), int(count))
        self.generator.set_state(state["generator"])
        self.optimizer = GaussianOptimizer.restored(state["optimizer"])
        self.typical_depth = float(state["typical_depth"])
        self._read_inverse_depths()
        self.optimizer.to(self.device)
        self.cameras.restore(state["cameras"])
        self.exposures.restore(state["exposures"])
        self.static_weights.restore(state["static_weights"])
        self._weight_cache.clear()

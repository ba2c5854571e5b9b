"""The state of an optimization, and one iteration of it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from diff_gaussian_rasterization import Rendering
from torch import Tensor

from gaussian.checkpoint_state import check_state
from gaussian.contributions import Contributions
from gaussian.densification import create_strategy
from gaussian.densification.pruning import PruningSettings, prunable
from gaussian.densification.strategy import DensificationContext
from gaussian.exposure import ExposureCompensation
from gaussian.frame_data import FrameData, InverseDepths, scaled_size
from gaussian.gradient_renderer import CameraGradients
from gaussian.hole_filling import fill_holes
from gaussian.initialization import InitializationSettings, initialize
from gaussian.losses import image_loss, window_weight
from gaussian.optimizer import Edit, GaussianOptimizer
from gaussian.poses import CameraRefinement, View
from gaussian.rasterize import usable_device
from gaussian.schedules import Schedules, exponential
from gaussian.settings import TrainSettings
from gaussian.staticness import StaticWeights
from scene.camera import Camera
from scene.errors import InputError
from scene.gaussians import Gaussians, morton_order
from scene.local_frame import moved_camera
from scene.moved_scene import frame_of_scene, moved_scene, typical_depth
from scene.observed import is_observed, unobserved_frames
from scene.progress import Progress
from scene.scene import Scene

#: number of images from which contributions are computed before each densification
_CONTRIBUTION_IMAGES = 24
_CPU = torch.device("cpu")


@dataclass
class _Report:
    """Values since the last entry in the history."""

    #: sum of the losses; on a GPU a scalar tensor there
    loss: float | Tensor = 0.0
    #: of the static pixels of a recent frame, in dB
    psnr: float = 0.0
    #: number of iterations
    count: int = 0


class TrainingRun:
    """An optimization: `prepare` or `restore`, then `advance` for each iteration, then `finish`.

    It works in a local frame (`scene.local_frame`): `scene`, `cameras` and the Gaussians are in it. `camera` and
    `placed_gaussians` say what they are in the world of the scene that was given.
    """

    def __init__(self, scene: Scene, settings: TrainSettings) -> None:
        """Raises `InputError` if every frame is held out."""
        #: the scene as it was given
        self.given = scene
        self.world_from_local = frame_of_scene(scene)
        self.scene = scene = moved_scene(scene, self.world_from_local.inverse())
        self.settings = settings
        self.schedules = Schedules()
        count = len(scene.frames)
        self.test_frames = settings.test_frames(count)
        #: frames that observed nothing at all: neither trained on nor scored
        self.unobserved_frames = unobserved_frames(scene.observed)
        unseen = set(self.unobserved_frames)
        self.test_frames = [frame for frame in self.test_frames if frame not in unseen]
        self.training_frames = [frame for frame in range(count) if frame not in {*self.test_frames, *unseen}]
        if not self.training_frames:
            raise InputError("Every frame is held out for testing, so none is left to train; hold out fewer.")
        #: where Gaussians, images and weights are during the optimization; everything else, and edits, are on the CPU
        self.device = torch.device(usable_device(settings.device))
        self.iteration = 0
        #: multiplies all learning rates; another thread may change it
        self.learning_rate_scale = 1.0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.cameras = CameraRefinement(scene.cameras)
        self.exposures = ExposureCompensation(count)
        self.static_weights = StaticWeights(
            scene.motion_masks, count, scene.frames.height, scene.frames.width, observed=scene.observed
        )
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
        """The Gaussians, up to date, in the local frame."""
        return self.optimizer.gaussians

    def placed_gaussians(self) -> Gaussians:
        """The same, which say where the local frame is in the world."""
        return replace(self.gaussians, world_from_local=self.world_from_local)

    def camera(self, frame: int) -> Camera:
        """The refined camera of a frame, in the world."""
        if not (self.settings.refine_cameras or self.settings.refine_focal or self.settings.refine_test_cameras):
            return self.given.cameras[frame]
        return moved_camera(self.cameras.camera(frame), self.world_from_local)

    @property
    def done(self) -> float:
        """The completed share of the run, 0 to 1."""
        return self.iteration / max(1, self.settings.iterations)

    def prepare(self, progress: Progress) -> None:
        """Places the first Gaussians and reads the depths. Raises `InputError` without depth or static pixels."""
        limits = InitializationSettings(max_count=max(1000, min(60_000, self.settings.max_gaussians)))
        gaussians = initialize(
            self.scene, self.training_frames, limits, sh_degree=self.settings.sh_degree, progress=progress
        )
        self.optimizer = GaussianOptimizer(gaussians)
        self._measure_depth()
        self._read_inverse_depths()
        self.optimizer.to(self.device)

    def _measure_depth(self) -> None:
        """Sets the typical depth: the median over some frames, or without any depth the distance of the Gaussians."""
        depth = typical_depth(self.scene, self.training_frames)
        if depth is None:
            distances = (self.gaussians.means - self._camera_center()).norm(dim=1)
            depth = float(distances.median()) if len(distances) else 1.0
        self.typical_depth = depth

    def _read_inverse_depths(self) -> None:
        if self.settings.depth_weight > 0:
            self._inverse_depths = InverseDepths(self.scene, self.training_frames)

    def advance(self) -> None:
        """One iteration: renders one frame and takes one step of everything that is learned."""
        started = time.perf_counter()
        done, schedules = self.done, self.schedules
        frame = self._next_frame()
        factor = schedules.resolution_factor(done) if self.settings.resolution_schedule else 1
        target = self._data.image(frame, factor)
        weight, weight_of_window = self._weights(frame, factor)
        degree = schedules.active_sh_degree(done, self.settings.sh_degree)
        background = torch.rand(3, generator=self.generator)
        rendered = self.optimizer.render(self.view(frame, factor), degree, background)
        gain, offset = self.exposure(frame)
        corrected = rendered.image * gain + offset
        # static weights and the depth term change slowly, so each of them takes every second iteration
        even = self.iteration % 2 == 0
        observing = even and self.settings.learn_staticness and done >= schedules.staticness_start
        loss, gradient, residual = image_loss(
            corrected, target, weight, weight_of_window, self.settings.ssim_weight, residual=observing
        )
        if self.settings.exposure and done >= schedules.exposure_start:
            sums = torch.stack([(gradient * rendered.image).sum(dim=(1, 2)), gradient.sum(dim=(1, 2))], dim=1)
            learning_rate = exponential(*schedules.exposure, done) * self.learning_rate_scale
            self.exposures.step(frame, sums.cpu().numpy().astype(np.float64), learning_rate)
        depth_gradients = None, None
        if not even:
            depth_gradients = self._depth_gradients(frame, rendered, weight, done)
        learning_rates = schedules.learning_rates(done, self.typical_depth / self.scene.cameras[0].fx)
        learning_rates = {name: rate * self.learning_rate_scale for name, rate in learning_rates.items()}
        count = max(1, len(self.optimizer))
        camera_gradients = self.optimizer.step(
            gradient * gain,
            *depth_gradients,
            learning_rates,
            # regularization of mean opacity and mean scale, as in the MCMC paper
            opacity_regularization=self.settings.opacity_regularization / count,
            scale_regularization=self.settings.scale_regularization / (3 * count * self.typical_depth),
        )
        self._step_camera(frame, factor, camera_gradients, done)
        if residual is not None:
            self._learn_staticness(frame, residual, target, rendered.alpha)
        self.iteration += 1
        self._record(loss, corrected, target, weight, started)
        if self.strategy.due(self.iteration, self.settings.iterations):
            self._densify()
        self.seconds += time.perf_counter() - started

    def view(self, frame: int, factor: int = 1) -> View:
        """The refined camera of a frame for its image at 1/factor of its size."""
        return self.cameras.view(frame, *scaled_size(self.scene.frames.width, self.scene.frames.height, factor))

    def exposure(self, frame: int) -> tuple[Tensor, Tensor]:
        """Gain and offset (3, 1, 1) of a frame."""
        values = torch.from_numpy(self.exposures.values[frame].astype(np.float32)).to(self.device)
        return values[:, 0].view(3, 1, 1), values[:, 1].view(3, 1, 1)

    def _next_frame(self) -> int:
        """Training frames in random order, each once before any is repeated."""
        if not self._queue:
            order = torch.randperm(len(self.training_frames), generator=self.generator)
            self._queue = [self.training_frames[int(k)] for k in order]
            if self.iteration:
                self.exposures.center(self.training_frames)
        return self._queue.pop()

    def _weights(self, frame: int, factor: int) -> tuple[Tensor, Tensor]:
        """Static weights (h, w) of pixels and of SSIM windows; cached until the frame has new evidence."""
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

    def _depth_gradients(
        self, frame: int, rendered: Rendering, weight: Tensor, done: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of the depth term with respect to alpha and depth. The term is the weighted mean of |inverse depth
        / inverse depth of the scene - 1|, with twice its weight because it is used in every second iteration only."""
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
        gradient = torch.sign(ratio - 1) * trust * (strength / total)
        return gradient * ratio / rendered.alpha.clamp_min(0.5), -gradient * ratio / depth

    def _step_camera(self, frame: int, factor: int, gradients: CameraGradients, done: float) -> None:
        """Takes one step of the pose of a frame and of the focal length."""
        schedules = self.schedules
        if done < schedules.pose_start:
            return
        if self.settings.refine_cameras:
            rotation = exponential(*schedules.pose, done) * self.learning_rate_scale / self.scene.cameras[0].fx
            self.cameras.step_pose(frame, gradients.camera_from_world, rotation, rotation * self.typical_depth)
        if self.settings.refine_focal:
            fx, fy = gradients.intrinsics[:2] / factor
            self.cameras.step_focal(fx, fy, exponential(*schedules.log_focal, done) * self.learning_rate_scale)

    def _learn_staticness(self, frame: int, residual: Tensor, target: Tensor, alpha: Tensor) -> None:
        """Adds the evidence of a rendering to the static weights of its frame."""
        arrays = (values.cpu().numpy() for values in (residual, target.permute(1, 2, 0), alpha))
        self.static_weights.observe(frame, *arrays)
        self._forget_weights(frame)

    def paint(self, frame: int, region: np.ndarray, moves: bool | None) -> None:
        """As `StaticWeights.paint`; the next iteration of the frame uses it."""
        self.static_weights.paint(frame, region, moves)
        self._forget_weights(frame)

    def _forget_weights(self, frame: int) -> None:
        for key in [key for key in self._weight_cache if key[0] == frame]:
            del self._weight_cache[key]

    def _record(self, loss: float | Tensor, image: Tensor, target: Tensor, weight: Tensor, started: float) -> None:
        """Adds an entry to the history in every 50th and in the last iteration."""
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
                    "gaussians": len(self.optimizer),
                    "seconds": round(self.seconds + time.perf_counter() - started, 2),
                }
            )
            self._report = _Report()

    def contributions(self, frames: Sequence[int], factor: int) -> Contributions:
        """Contributions of the Gaussians to the images of `frames` at 1/factor of their size."""
        contributions = Contributions.zero(len(self.gaussians), self.device)
        degree = self.schedules.active_sh_degree(self.done, self.settings.sh_degree)
        for frame in frames:
            target = self._data.image(frame, factor).float() / 255
            weight = self._weights(frame, factor)[0]
            contributions.add_image(self.gaussians, self.view(frame, factor), degree, weight, target, factor**2)
        return contributions

    def _prune(self, frames: Sequence[int], factor: int, settings: PruningSettings) -> Contributions:
        """Moves the optimizer to the CPU and removes useless Gaussians; returns the contributions of the others."""
        contributions = self.contributions(frames, factor).to(_CPU)
        self.optimizer.to(_CPU)
        keep = torch.nonzero(~prunable(self.gaussians, contributions, self._camera_center(), settings))[:, 0]
        self.optimizer.apply(Edit(keep, Gaussians.empty(self.gaussians.sh_degree)))
        return contributions.select(keep)

    def _densify(self) -> None:
        """Removes useless Gaussians, lets the strategy change the others, and sorts them for the kernels."""
        frames = self.training_frames
        chosen = [frames[int(k)] for k in np.linspace(0, len(frames) - 1, min(_CONTRIBUTION_IMAGES, len(frames)))]
        factor = max(2, self.schedules.resolution_factor(self.done)) if self.settings.resolution_schedule else 2
        contributions = self._prune(chosen, factor, PruningSettings(min_static=0.0))
        context = DensificationContext(self.settings.max_gaussians, contributions, self.generator)
        self.optimizer.apply(self.strategy.edit(self.gaussians, context))
        order = morton_order(self.gaussians.means)
        self.optimizer.apply(Edit(order, Gaussians.empty(self.gaussians.sh_degree)))
        self.optimizer.to(self.device)

    def _camera_center(self) -> Tensor:
        """The median of the camera centers of the scene, (3,)."""
        centers = [camera.center for camera in self.scene.cameras]
        return torch.from_numpy(np.median(np.stack(centers), axis=0).astype(np.float32))

    def finish(self) -> None:
        """Removes Gaussians that hardly any static pixel of the training frames contains, interpolates cameras and
        exposures of held-out frames, and fills the regions that no frame shows static."""
        # large Gaussians stay: they are the background of walls and sky, and nothing would grow in their place any more
        frames = self.training_frames[:: max(1, len(self.training_frames) // 200)]
        self._prune(frames, 2, PruningSettings(max_scale=math.inf))
        self.exposures.center(self.training_frames)
        untrained = sorted({*self.test_frames, *self.unobserved_frames})
        self.cameras.interpolate(untrained, self.training_frames)
        self.exposures.interpolate(untrained, self.training_frames)
        cameras = [self.cameras.camera(frame) for frame in self.training_frames]
        observed = self.scene.observed
        seen = None if observed is None else [partial(is_observed, observed, frame) for frame in self.training_frames]
        self.optimizer = GaussianOptimizer(fill_holes(self.gaussians.to(self.device), cameras, observed=seen).to(_CPU))

    def _parts(self) -> "dict[str, CameraRefinement | ExposureCompensation]":
        return {"cameras": self.cameras, "exposures": self.exposures}

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, in types that a checkpoint can hold."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "typical_depth": self.typical_depth,
            "local_frame": [self.world_from_local.scale, *self.world_from_local.translation.tolist()],
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
        """Restores what `state` returned. Raises `InputError` for the state of a version without the local frame, and
        any exception for something else."""
        frame = state.get("local_frame", [1.0, 0.0, 0.0, 0.0])
        if list(frame) != [self.world_from_local.scale, *self.world_from_local.translation.tolist()]:
            raise InputError("The checkpoint is of another version, or the depth of the scene was changed; start anew.")
        check_state(state, {name: part.state() for name, part in self._parts().items()}, self.training_frames)
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

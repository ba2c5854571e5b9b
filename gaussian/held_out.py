"""Scores of held-out frames, and the optional refinement of their cameras."""

import numpy as np
import torch

from gaussian import gradient_renderer
from gaussian.losses import image_loss, window_weight
from gaussian.metrics import psnr_das3r, psnr_static, ssim
from gaussian.rendering import render
from gaussian.schedules import exponential
from gaussian.train_result import TrainResult
from gaussian.training_run import TrainingRun
from scene.gaussians import Gaussians
from scene.maps import FrameMaps
from scene.observed import is_observed
from scene.progress import Progress

_REFINEMENT_STEPS = 60


def score(run: TrainingRun, result: TrainResult, annotations: FrameMaps | None, progress: Progress) -> None:
    """Sets `result.test_metrics`; with `refine_test_cameras`, refines the cameras of the held-out frames first.

    Pixels whose value in `annotations` is below 0.5 count as static; without annotations, the motion masks of the scene
    are used. Renders on the device of the run.
    """
    if not result.test_frames:
        return
    masks = annotations if annotations is not None else run.scene.motion_masks
    shape = (run.scene.frames.height, run.scene.frames.width)
    static = {
        frame: (masks[frame] < 0.5) if masks is not None else np.ones(shape, bool) for frame in result.test_frames
    }
    gaussians = result.gaussians.to(run.device)
    observed = run.scene.observed
    if observed is not None:
        static = {frame: values & is_observed(observed, frame) for frame, values in static.items()}
    if run.settings.refine_test_cameras:
        for done, frame in enumerate(result.test_frames):
            progress("refining held-out cameras", done, len(result.test_frames))
            _refine_camera(run, gaussians, frame, static[frame])
            result.cameras[frame] = run.camera(frame)
        result.test_cameras = "optimized on static pixels"
    frames = []
    for frame in result.test_frames:
        image = run.scene.frames[frame]
        rendered = render(gaussians, result.cameras[frame], exposure=result.exposures[frame]).image
        frames.append(
            {
                "frame": frame,
                "psnr_das3r": psnr_das3r(rendered, image, static[frame]),
                "psnr_static": psnr_static(rendered, image, static[frame]),
                "ssim_static": ssim(rendered, image, static[frame]),
            }
        )
    scene_masks = "motion masks of the scene" if masks is not None else "none"
    result.test_metrics = {
        "masks": ("annotations" if annotations is not None else scene_masks)
        + ("" if observed is None else ", observed pixels"),
        "cameras": result.test_cameras,
        "exposures": "interpolated" if run.settings.exposure else "none",
        **{name: float(np.nanmean([entry[name] for entry in frames])) for name in frames[0] if name != "frame"},
        "frames": frames,
    }


def _refine_camera(run: TrainingRun, gaussians: Gaussians, frame: int, static: np.ndarray) -> None:
    """Optimizes the pose of one camera on the static pixels of its image; the Gaussians are not changed."""
    weight = static.astype(np.float32)
    pixels, windows = (torch.from_numpy(values).to(run.device) for values in (weight, window_weight(weight)))
    target = torch.from_numpy(run.scene.frames[frame].transpose(2, 0, 1).copy()).to(run.device)
    gain, offset = run.exposure(frame)
    for step in range(_REFINEMENT_STEPS):
        rendered = gradient_renderer.forward(gaussians, run.view(frame), run.settings.sh_degree)
        image = rendered.image.detach() * gain + offset
        gradient = image_loss(image, target, pixels, windows, run.settings.ssim_weight).gradient
        gradients = gradient_renderer.backward(rendered, gradient * gain)
        learning_rate = exponential(0.15, 0.01, step / _REFINEMENT_STEPS) / run.scene.cameras[0].fx
        run.cameras.step_pose(
            frame, gradients.camera.camera_from_world, learning_rate, learning_rate * run.typical_depth
        )

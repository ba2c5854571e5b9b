"""Scores of held-out frames, and the option that lets their cameras be optimized first."""

import numpy as np
import torch

from gaussian import gradient_renderer
from gaussian.losses import image_loss, window_weight
from gaussian.metrics import psnr_das3r, psnr_static, ssim
from gaussian.rendering import render
from gaussian.schedules import exponential
from gaussian.train_result import TrainResult
from gaussian.training_run import TrainingRun
from scene.maps import FrameMaps
from scene.progress import Progress

_REFINEMENT_STEPS = 60


def score(run: TrainingRun, result: TrainResult, annotations: FrameMaps | None, progress: Progress) -> None:
    """Fills `result.test_metrics`, and moves the cameras of held-out frames first if the settings ask for it.

    Static is what `annotations`, or without them the scene's motion masks, have below a half.
    """
    if not result.test_frames:
        return
    masks = annotations if annotations is not None else run.scene.motion_masks
    shape = (run.scene.frames.height, run.scene.frames.width)
    static = {
        frame: (masks[frame] < 0.5) if masks is not None else np.ones(shape, bool) for frame in result.test_frames
    }
    if run.settings.refine_test_cameras:
        for done, frame in enumerate(result.test_frames):
            progress("refining held-out cameras", done, len(result.test_frames))
            _refine_camera(run, frame, static[frame])
            result.cameras[frame] = run.cameras.camera(frame)
        result.test_cameras = "optimized on static pixels"
    frames = []
    for frame in result.test_frames:
        image = run.scene.frames[frame]
        rendered = render(result.gaussians, result.cameras[frame], exposure=result.exposures[frame]).image
        frames.append(
            {
                "frame": frame,
                "psnr_das3r": psnr_das3r(rendered, image, static[frame]),
                "psnr_static": psnr_static(rendered, image, static[frame]),
                "ssim_static": ssim(rendered, image, static[frame]),
            }
        )
    result.test_metrics = {
        "masks": "annotations" if annotations is not None else "motion masks of the scene",
        "cameras": result.test_cameras,
        "exposures": "interpolated" if run.settings.exposure else "none",
        **{name: float(np.nanmean([entry[name] for entry in frames])) for name in frames[0] if name != "frame"},
        "frames": frames,
    }


def _refine_camera(run: TrainingRun, frame: int, static: np.ndarray) -> None:
    """Moves one camera by the static pixels of its image; the Gaussians stay as they are."""
    weight = static.astype(np.float32)
    weights = torch.from_numpy(weight), torch.from_numpy(window_weight(weight))
    target = torch.from_numpy(run.scene.frames[frame].transpose(2, 0, 1).copy())
    gain, offset = (
        torch.from_numpy(run.exposures.values[frame, :, k].astype(np.float32)).view(3, 1, 1) for k in (0, 1)
    )
    for step in range(_REFINEMENT_STEPS):
        rendered = gradient_renderer.forward(run.gaussians, run.cameras.camera(frame), run.settings.sh_degree)
        image = rendered.image * gain + offset
        slope = image_loss(image, target, *weights, run.settings.ssim_weight).slope
        gradients = gradient_renderer.backward(rendered, slope * gain)
        rate = exponential(0.15, 0.01, step / _REFINEMENT_STEPS) / run.scene.cameras[0].fx
        run.cameras.step_pose(frame, gradients.camera.camera_from_world, rate, rate * run.typical_depth)

"""Motion masks that do not come with the prediction: of the geometric stage, of a second predictor, of attention; and
those of any source, refined."""

from collections.abc import Callable
from pathlib import Path

from dynamic_predictor.contract import Predictor
from dynamic_predictor.driver.mask_source import attention_masks, mask_source
from dynamic_predictor.driver.second_predictor import second_prediction
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.mask_refinement.choice import create_segmenter
from dynamic_predictor.networks.devices import resolved_device
from dynamic_predictor.optical_flow.estimation import create_optical_flow
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps, maps_of_size
from scene.observed import where_observed
from scene.progress import Progress
from scene.scene import Scene

Warn = Callable[[str], None]
#: the source of the motion masks, as recorded in `scene.json`
BY_MOTION_STAGE = "estimated (geometric motion stage, from the scene's cameras and depth)"


def estimated_masks(scene: Scene, settings: DriverSettings, progress: Progress, warn: Warn) -> FrameMaps:
    """The motion masks of the geometric stage: flow that the cameras and depth of `scene` do not explain."""
    from dynamic_predictor.geometric.motion import scene_motion

    device = resolved_device(settings.device)
    flow = create_optical_flow(settings.flow or "auto", auto="dis", device=device, warn=warn)
    return scene_motion(scene, flow=flow, progress=progress)


def predicted_masks(
    frames: Frames,
    settings: DriverSettings,
    folder: Path,
    progress: Progress,
    warn: Warn,
    *,
    observed: FrameMaps | None = None,
    predictor: Predictor | None = None,
) -> FrameMaps:
    """The motion masks that `masks_from` names: those of a predictor, of which nothing else is used, or of attention,
    by default that of the `predictor` of the settings. `observed`: what the frames have observed."""
    source = mask_source(settings)
    if source.is_attention:
        return attention_masks(source, frames, settings, predictor, progress)
    motion = second_prediction(source.spec, frames, settings, folder, progress, warn, observed=observed).motion
    if motion is None:
        raise InputError(f"The predictor {source.spec.name} finds no motion masks; choose another for --masks-from.")
    return maps_of_size(motion, (frames.width, frames.height))


def refined(
    frames: Frames,
    masks: FrameMaps,
    by: str,
    settings: DriverSettings,
    progress: Progress,
    warn: Warn,
    *,
    observed: FrameMaps | None = None,
) -> tuple[FrameMaps, str]:
    """The motion masks that came from the source `by`, refined where the settings say so, and their source then, as
    recorded in `scene.json`."""
    if settings.refine_masks is None:
        return masks, by
    from dynamic_predictor.mask_refinement.refining import refined_masks

    segmenter = create_segmenter(settings.refine_masks, resolved_device(settings.device))
    masks = where_observed(maps_of_size(masks, (frames.width, frames.height)), observed)
    found = refined_masks(frames, masks, segmenter, progress)
    if found.objects and not found.refined:
        warn(
            f"What {segmenter.name} finds agrees with none of the {found.objects} things that move; the motion masks "
            "stay as they were."
        )
    if found.left_out:
        warn(f"The {found.left_out} smallest of the things that move were not refined by {segmenter.name}.")
    return found.masks, f"{by}, refined by {segmenter.name} ({found.refined} of {found.objects} objects)"

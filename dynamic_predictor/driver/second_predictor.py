"""A second predictor on the frames of a scene, of which only the motion masks or only the depth are used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.contract import Views
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from dynamic_predictor.driver.stream import run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import create_predictor
from scene.camera import focal_length
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps, LoadedMaps, chosen_maps, map_of_size, maps_of_size
from scene.progress import Progress
from scene.scene import Scene

Warn = Callable[[str], None]
#: pixels with both depths that a frame needs for a scale of its own
_FEWEST_PIXELS = 100


@dataclass(frozen=True)
class SecondPrediction:
    """The maps of a second predictor, which may have another size than the frames."""

    motion: FrameMaps | None
    z_depths: FrameMaps | None
    confidences: FrameMaps | None


def second_prediction(
    spec: PredictorSpec,
    frames: Frames,
    settings: DriverSettings,
    folder: Path,
    progress: Progress,
    warn: Warn,
    *,
    observed: FrameMaps | None = None,
) -> SecondPrediction:
    """What the predictor of `spec` finds in `frames`, of which they have `observed` something (None: everything), as a
    whole or, where it cannot take them, in chunks that lie in `folder`. Of the settings, the flow and the angle of view
    are used where it can."""
    flow = {"flow": settings.flow} if settings.flow is not None and spec.flow else {}
    predictor = create_predictor(spec.name, device=settings.device, seed=settings.seed, **flow)
    focal = None
    if settings.fov is not None and settings.lens != "fisheye" and spec.known_focal:
        focal = focal_length(frames.width, settings.fov)
    if spec.online or (spec.largest_views is not None and len(frames) > spec.largest_views):
        workspace = StreamWorkspace(folder, {}, resume=False)
        workspace.take(frames)
        chunks = StreamSettings(loop=False)

        def known(chosen: Frames, indices: Sequence[int] | range) -> Views:
            return Views(chosen, observed=chosen_maps(observed, indices), focal=focal)

        stream = run_stream(None, predictor, spec, workspace, chunks, known=known, progress=progress, warn=warn)
        scene = scene_of_stream(stream)
        return SecondPrediction(scene.motion_masks, scene.z_depths, scene.confidences)
    found = predictor.predict(Views(frames, observed=observed, focal=focal), progress=progress)
    return SecondPrediction(found.motion, found.z_depth, found.confidence)


def use_depths(scene: Scene, found: SecondPrediction, name: str) -> None:
    """Puts the depth of another predictor into `scene`, with its confidence, in the units of the scene.

    Two predictors' worlds differ in scale, and a predictor of single images has another scale in each frame. So each
    frame is scaled by the median of the quotients of the scene's own depth and the new one, over the pixels where both
    are known (static ones, where masks are known); where these are too few, by the median of the other frames' scales.
    Raises `InputError` where there are no depths to compare.
    """
    own = scene.z_depths
    if own is None or found.z_depths is None:
        raise InputError(f"The depth of {name} cannot be brought to the scale of the scene; leave out --depths-from.")
    size = scene.frames.width, scene.frames.height
    theirs = maps_of_size(found.z_depths, size, nearest=True)
    scales = np.full(len(scene.frames), np.nan)
    for index in range(len(scene.frames)):
        ours, other = map_of_size(own[index], size, nearest=True), theirs[index]
        both = (ours > 0) & (other > 0) & np.isfinite(ours) & np.isfinite(other)
        if scene.motion_masks is not None:
            both &= scene.motion_masks[index] < 0.5
        if both.sum() >= _FEWEST_PIXELS:
            scales[index] = np.median(ours[both] / other[both])
    if not np.isfinite(scales).any():
        raise InputError(f"The depth of {name} has no pixel in common with the scene's; leave out --depths-from.")
    filled = np.where(np.isfinite(scales), scales, np.nanmedian(scales)).astype(np.float32)
    scene.z_depths = LoadedMaps(len(scene.frames), lambda index: theirs[index] * filled[index])
    scene.confidences = None if found.confidences is None else maps_of_size(found.confidences, size)
    spread = float(np.nanmax(scales) / np.nanmin(scales))
    scene.provenance = {**scene.provenance, "depth": f"predicted ({name})", "depth_scale_spread": round(spread, 4)}

"""Scenes out of folders that are scenes or projects already: nothing is predicted but what they lack."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dynamic_predictor.driver.given_cameras import completed
from dynamic_predictor.driver.mask_source import mask_source
from dynamic_predictor.driver.motion_masks import BY_MOTION_STAGE, estimated_masks, predicted_masks, refined
from dynamic_predictor.driver.scenes import scene_warnings
from dynamic_predictor.driver.second_predictor import second_prediction, use_depths
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.users_masks import given_by, grown_by, users_masks
from dynamic_predictor.mask_refinement.choice import required_weights
from dynamic_predictor.networks.devices import resolved_device
from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.specs import predictor_spec
from scene.errors import InputError
from scene.frames import parse_frame_range
from scene.given_masks.growing import grown_maps
from scene.open_scene import open_scene
from scene.progress import Progress, ignore_progress
from scene.projects.opening import ProjectChoice, is_project, open_project
from scene.scene import Scene

Warn = Callable[[str], None]


def scene_of_folder(
    settings: DriverSettings,
    working_folder: Path,
    *,
    progress: Progress = ignore_progress,
    warn: Warn = lambda sentence: None,
) -> Scene:
    """The scene in the folder that the settings name as input, with the user's masks or those of another predictor in
    place of its own. A scene without motion masks gets those of the geometric motion stage, or is refused where it has
    no depth either, so that moving objects are never silently treated as static. A project (`scene.projects`) gets
    depth, too."""
    if settings.refine_masks is not None:
        required_weights(settings.refine_masks)
    if is_project(settings.input):
        return scene_of_project(settings, working_folder, progress=progress, warn=warn)
    scene = open_scene(settings.input)
    if settings.predictor not in (None, scene.predictor):
        raise InputError(f"{settings.input} is a scene already, so no predictor runs; leave out --predictor.")
    masks_known = settings.masks is not None or scene.motion_masks is not None
    if settings.flow is not None and settings.masks_from is None and masks_known:
        raise InputError(f"The motion masks of {settings.input} are known; leave out --flow.")
    given = None
    if settings.masks is not None:
        given = users_masks(settings, scene.frames, None, warn)
    if given is not None and (given.is_complete or scene.motion_masks is not None):
        before = str(scene.provenance.get("masks", "masks of the scene"))
        others = given.maps if scene.motion_masks is None else scene.motion_masks
        scene = replace(scene, motion_masks=given.merged(others))
        scene.provenance["masks"] = given_by(given, before)
    elif settings.masks_from is not None:
        masks = predicted_masks(
            scene.frames, settings, working_folder / "masks_from", progress, warn, observed=scene.observed
        )
        scene = replace(scene, motion_masks=masks)
        scene.provenance["masks"] = mask_source(settings).provenance
    elif scene.motion_masks is None:
        if scene.z_depths is None:
            raise InputError(
                f"{settings.input} has neither motion masks nor depth to find them by; give --masks DIR or "
                "--masks-from geometric."
            )
        if given is None:
            warn(f"{settings.input} has no motion masks; they are estimated from its cameras and depth.")
        scene.motion_masks = estimated_masks(scene, settings, progress, warn)
        scene.provenance["masks"] = BY_MOTION_STAGE
        if given is not None:
            scene.motion_masks = given.merged(scene.motion_masks)
            scene.provenance["masks"] = given_by(given, BY_MOTION_STAGE)
    if given is None and scene.motion_masks is not None:
        _finish_masks(scene, settings, progress, warn)
    for sentence in scene_warnings(scene):
        warn(sentence)
    return scene


def scene_of_project(
    settings: DriverSettings, working_folder: Path, *, progress: Progress = ignore_progress, warn: Warn
) -> Scene:
    """The project in the folder that the settings name as input, with the masks and depth of the settings, its own, or
    those that are estimated from its cameras, in this order."""
    chosen = parse_frame_range(settings.frames)
    scene = open_project(settings.input, ProjectChoice(settings.size_limit, chosen, settings.max_frames))
    given = None
    if settings.masks is not None:
        positions = scene.provenance["source_frames"] if settings.selects_frames else None
        given = users_masks(settings, scene.frames, positions, warn)
        if given.is_complete:
            scene.motion_masks = given.maps
    elif settings.masks_from is not None:
        folder = working_folder / "masks_from"
        masks = predicted_masks(scene.frames, settings, folder, progress, warn, observed=scene.observed)
        scene.motion_masks = masks
        scene.provenance["masks"] = mask_source(settings).provenance
    scene.provenance["input"] = settings.input
    device = resolved_device(settings.device)
    flow = create_optical_flow(settings.flow or "auto", auto="dis", device=device, warn=warn)
    scene = completed(scene, flow, progress=progress, warn=warn)
    if given is not None:
        others = given.maps if scene.motion_masks is None else scene.motion_masks
        scene.motion_masks = given.merged(others)
        scene.provenance["masks"] = given_by(given, str(scene.provenance.get("masks", "")))
    elif scene.motion_masks is not None:
        _finish_masks(scene, settings, progress, warn)
    if settings.depths_from is not None:
        spec = predictor_spec(settings.depths_from)
        folder = working_folder / "depths_from"
        found = second_prediction(spec, scene.frames, settings, folder, progress, warn, observed=scene.observed)
        use_depths(scene, found, spec.name)
    return scene


def _finish_masks(scene: Scene, settings: DriverSettings, progress: Progress, warn: Warn) -> None:
    """The motion masks of the scene, which no user gave, refined and grown as the settings say."""
    assert scene.motion_masks is not None
    by = str(scene.provenance.get("masks", "")) or "masks of the scene"
    masks, by = refined(scene.frames, scene.motion_masks, by, settings, progress, warn, observed=scene.observed)
    scene.motion_masks = grown_maps(masks, settings.masks_grow)
    scene.provenance["masks"] = grown_by(by, settings.masks_grow)

"""Checks the options of a command before any work: options without effect are errors."""

from collections.abc import Sequence
from typing import Any

from dynamic_predictor.driver.mask_source import mask_source
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.source_names import is_live
from dynamic_predictor.mask_refinement.choice import chosen_weights
from dynamic_predictor.networks.devices import resolved_device
from dynamic_predictor.optical_flow.specs import flow_names
from dynamic_predictor.predictor_options import option_flags
from dynamic_predictor.specs import predictor_spec, specs, unknown_settings
from scene.errors import InputError
from scene.frames import parse_frame_range
from scene.given_masks.opening import check_masks
from scene.open_scene import is_scene
from scene.projects.opening import is_project


def check_options(settings: DriverSettings, *, makes_scene: bool = True, in_chunks: bool = False) -> None:
    """Raises `InputError` for the first option that would have no effect or cannot be used.

    `makes_scene`: the command writes a scene, for which the predictor must find cameras. `in_chunks`: it stitches
    chunks, which has an official behavior of its own.
    """
    spec = settings.spec
    live = is_live(settings.input)
    if makes_scene and not spec.cameras:
        raise InputError(
            f"The predictor {spec.name} predicts each image separately and finds no cameras; choose one of: "
            f"{_names(lambda row: row.cameras)}."
        )
    if settings.weights is not None and "weights" in unknown_settings(spec.name, ["weights"]):
        raise InputError(f"The predictor {spec.name} has no weights; leave out --weights.")
    unknown = unknown_settings(spec.name, settings.predictor_options)
    if unknown:
        raise InputError(f"The predictor {spec.name} has nothing of that kind; leave out {option_flags(unknown)}.")
    has_official = in_chunks or not unknown_settings(spec.name, ["strict_official"])
    if settings.strict_official and not has_official:
        raise InputError(f"The predictor {spec.name} has no official behavior to choose; leave out --strict-official.")
    if settings.lens not in (None, "auto", "pinhole") and not makes_scene:
        raise InputError("--lens undistorts the frames of a scene, which is not made here; leave it out.")
    if settings.lens not in (None, "auto", "pinhole") and live:
        raise InputError("The frames of a live source are not undistorted; leave out --lens.")
    if settings.lens == "auto" and not (spec.finds_lens and makes_scene):
        raise InputError(
            f"No lens is found here by the predictor {spec.name}; leave out --lens auto, or give the lens."
        )
    if settings.fov is not None and not spec.known_focal and settings.lens != "fisheye":
        raise InputError(f"The predictor {spec.name} finds the angle of view itself; leave out --fov.")
    if settings.masks_from is not None:
        mask_source(settings)
    if settings.refine_masks is not None:
        chosen_weights(settings.refine_masks)
    if settings.depths_from is not None:
        _check_depths_from(settings, makes_scene, in_chunks)
    if settings.flow is not None:
        _check_flow(settings, makes_scene)
    chosen = parse_frame_range(settings.frames)
    if live and settings.frames is not None:
        raise InputError("Frames of a live source have no numbers; use --fps and --max-frames instead of --frames.")
    if live and settings.masks is not None:
        raise InputError("Motion masks cannot be given for a live source; leave out --masks.")
    if chosen.step is not None and chosen.step < 1:
        raise InputError("The step of a frame range must be 1 or more.")
    check_masks("--masks", settings.masks)
    resolved_device(settings.device)
    if is_scene(settings.input):
        if settings.predictor_options:
            flags = option_flags(settings.predictor_options)
            raise InputError(f"{settings.input} is a scene already, so no predictor runs; leave out {flags}.")
        for name in (
            "frames",
            "fps",
            "max_frames",
            "max_size",
            "fov",
            "lens",
            "weights",
            "strict_official",
            "depths_from",
        ):
            if getattr(settings, name) not in (None, False):
                raise InputError(
                    f"{settings.input} is a scene, whose frames and cameras are fixed; leave out "
                    f"--{name.replace('_', '-')}."
                )
    elif is_project(settings.input):
        _check_project(settings)


def _check_project(settings: DriverSettings) -> None:
    if settings.predictor is not None or settings.predictor_options:
        flags = "--predictor" if settings.predictor is not None else option_flags(settings.predictor_options)
        raise InputError(
            f"{settings.input} is a project, whose cameras are given, so no predictor runs; leave out {flags}, or give "
            "the folder of its images."
        )
    for name in ("fps", "fov", "lens", "weights", "strict_official"):
        if getattr(settings, name) not in (None, False):
            raise InputError(
                f"{settings.input} is a project, whose images and cameras are given; leave out "
                f"--{name.replace('_', '-')}."
            )


def _check_depths_from(settings: DriverSettings, makes_scene: bool, in_chunks: bool) -> None:
    name = predictor_spec(settings.depths_from or "").name
    if not makes_scene or in_chunks:
        raise InputError("--depths-from is for run and predict only; leave it out, or choose that --predictor.")
    if name == settings.spec.name:
        raise InputError(f"--depths-from {name} is the predictor itself; leave it out.")


def _check_flow(settings: DriverSettings, makes_scene: bool) -> None:
    if settings.flow not in flow_names():
        raise InputError(
            f'There is no optical flow called "{settings.flow}"; choose one of: {", ".join(flow_names())}.'
        )
    if settings.masks_from is not None:
        estimates_motion = mask_source(settings).uses_flow
    else:
        estimates_motion = makes_scene and not settings.spec.motion and settings.masks is None
    of_depth = settings.depths_from is not None and predictor_spec(settings.depths_from).flow
    if not settings.spec.flow and not estimates_motion and not of_depth:
        raise InputError(
            f"Nothing here estimates optical flow with the predictor {settings.spec.name}; leave out --flow."
        )


def _names(wanted: Any) -> str:
    found: Sequence[str] = [name for name, row in specs().items() if wanted(row)]
    return ", ".join(found)

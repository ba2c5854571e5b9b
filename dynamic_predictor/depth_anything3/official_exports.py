"""The export arguments of the official package, as `DepthAnything3.inference` takes them, for our formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.depth_anything3.inputs import checked_cameras
from dynamic_predictor.depth_anything3.official import Conventions
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from scene.camera import Camera, cameras_of
from scene.errors import InputError
from scene.formats.options import SHOWCASE_PATHS, VIDEO_QUALITIES, ExportOptions
from scene.formats.registry import check_export_folder, export, format_names, formats
from scene.similarity import Similarity

_MAX_VIDEO_SIZE = 8192
_DEPTH_PLACES = {"hcat": "right", "vcat": "below", None: "nowhere"}


def prepare_exports(
    folder: Path,
    names: str,
    options: ExportOptions,
    format_options: Mapping[str, Mapping[str, Any]],
    video: Mapping[str, Any],
    conventions: Conventions,
    *,
    has_cameras: bool,
    has_gaussians: bool,
    has_features: bool,
) -> Callable[[DepthAnything3Prediction], None]:
    """A function that writes a prediction in the formats `names`, joined by "-". Raises `InputError`, before the
    network runs, for a request that cannot be fulfilled.

    `format_options`: per format its own options by their official names, in place of `options`. `video`: the cameras of
    gs_video, in place of those in its options: "extrinsics" camera_from_world (M, 3 or 4, 4), "intrinsics" (M, 3, 3)
    and "out_image_hw" (H, W). `has_*`: contents of the prediction.
    """
    chosen = format_names(names)
    if conventions.exports_video_with_gaussians and "gs_ply" in chosen and "gs_video" not in chosen:
        chosen.append("gs_video")
    for name in chosen:
        needs = set(formats()[name].needs)
        if {"gaussians", "pixel_gaussians"} & needs and not has_gaussians:
            raise InputError(
                f"The format {name} needs Gaussians; add infer_gs=True (da3-giant and da3-nested have them)."
            )
        if "features" in needs and not has_features:
            raise InputError(f"The format {name} needs features; name their blocks in export_feat_layers.")
        if {"cameras", "points"} & needs and not has_cameras:
            raise InputError(
                f"The format {name} needs cameras, which this model does not predict; use mini_npz-depth_vis."
            )
    check_export_folder(folder)
    if not isinstance(format_options, Mapping):
        raise InputError("export_kwargs must map formats to their options.")
    all_options = replace(options, **_changes(format_options))
    given = {name: value for name, value in video.items() if value is not None}
    video_cameras = _video_cameras({**(format_options.get("gs_video") or {}), **given}, conventions)

    def write(prediction: DepthAnything3Prediction) -> None:
        cameras = video_cameras(prediction) if "gs_video" in chosen else None
        export(prediction, folder, chosen, replace(all_options, video_cameras=cameras))

    return write


def _changes(format_options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of `ExportOptions` that the official options set."""
    changes: dict[str, Any] = {}
    for name, given in format_options.items():
        if name not in formats():
            raise InputError(f'export_kwargs names "{name}"; there is no such format among {", ".join(formats())}.')
        known = _OPTIONS.get(name, {})
        for option, value in (given or {}).items():
            if option not in known:
                offered = f"choose from: {', '.join(known)}" if known else "it has none"
                raise InputError(f'The format {name} has no option "{option}"; {offered}.')
            target = known[option]
            if target is None:
                continue
            field_name, convert = target
            try:
                changes[field_name] = convert(value)
            except (TypeError, ValueError, KeyError) as error:
                raise InputError(f"The option {option} of {name} cannot be {value!r}.") from error
    return changes


def _one_of(choices: Sequence[str]) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return convert


_POINTS = {
    "num_max_points": ("max_points", int),
    "conf_thresh": ("least_confidence", float),
    "conf_thresh_percentile": ("confidence_percentile", float),
    "ensure_thresh_percentile": ("ceiling_percentile", float),
    "filter_black_bg": ("drop_black", bool),
    "filter_white_bg": ("drop_white", bool),
}
#: official option -> field of `ExportOptions` and conversion of the value; None: without effect here, or read by
#: `_video_cameras`
_OPTIONS: dict[str, dict[str, tuple[str, Callable[[Any], Any]] | None]] = {
    "glb": {
        **_POINTS,
        "show_cameras": ("show_cameras", bool),
        "camera_size": ("camera_size", float),
        "export_depth_vis": ("depth_vis_beside", bool),
    },
    "ply": {**_POINTS},
    "colmap": {"conf_thresh_percentile": ("confidence_percentile", float)},
    "feat_vis": {"fps": ("feature_rate", float)},
    "gs_ply": {"gs_views_interval": ("view_step", int)},
    "gs_video": {
        "trj_mode": ("trajectory", _one_of(SHOWCASE_PATHS)),
        "video_quality": ("quality", _one_of(VIDEO_QUALITIES)),
        "vis_depth": ("depth_place", _DEPTH_PLACES.__getitem__),
        "output_name": ("video_name", lambda name: None if name is None else str(name)),
        "extrinsics": None,
        "intrinsics": None,
        "out_image_hw": None,
        # one image is rendered at a time, depth is always the expected depth, and progress bars are the caller's
        "chunk_size": None,
        "color_mode": None,
        "enable_tqdm": None,
    },
}


def _video_cameras(
    options: Mapping[str, Any], conventions: Conventions
) -> Callable[[DepthAnything3Prediction], list[Camera]]:
    """A function that makes the cameras of gs_video: the given ones, or those of a prediction, at the given size.
    Raises `InputError`, before there is a prediction, for cameras that cannot be used."""
    poses, matrices = checked_cameras(
        options.get("extrinsics"), options.get("intrinsics"), names=("render_exts", "render_ixts")
    )
    if poses is not None and matrices is not None and len(poses) != len(matrices):
        raise InputError(f"There are {len(poses)} render_exts and {len(matrices)} render_ixts; give as many.")
    size = _size(options.get("out_image_hw"))

    def cameras(prediction: DepthAnything3Prediction) -> list[Camera]:
        predicted = prediction.cameras()
        if prediction.scale_factor is not None and not conventions.scales_gaussians_and_rays:
            # the Gaussians of the nested model are then in the unit of its any-view network
            unit = Similarity(1.0 / prediction.scale_factor, np.eye(3), np.zeros(3))
            predicted = [camera.moved(unit.apply_to_poses(camera.world_from_camera)) for camera in predicted]
        height, width = size or prediction.depth.shape[1:]
        own = np.stack([camera.world_from_camera for camera in predicted])
        world_from_camera = own if poses is None else np.linalg.inv(poses)
        if matrices is None:
            resized = [camera.resized(width, height) for camera in predicted]
            if len(resized) != len(world_from_camera):
                resized = resized[:1] * len(world_from_camera)
            return [camera.moved(pose) for camera, pose in zip(resized, world_from_camera, strict=True)]
        if len(matrices) != len(world_from_camera):
            raise InputError(
                f"There are {len(matrices)} render_ixts for {len(world_from_camera)} cameras; give as many."
            )
        return cameras_of(width, height, matrices, world_from_camera)

    return cameras


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError) as error:
        raise InputError(f"render_hw must be a height and a width, not {value!r}.") from error
    if not (0 < height <= _MAX_VIDEO_SIZE and 0 < width <= _MAX_VIDEO_SIZE):
        raise InputError(f"render_hw must be from 1 to {_MAX_VIDEO_SIZE} pixels, not {height}x{width}.")
    return height, width

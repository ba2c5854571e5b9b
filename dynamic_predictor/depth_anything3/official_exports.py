"""The export arguments of the official package, as `DepthAnything3.inference` takes them, for our formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.depth_anything3.official import Conventions
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.options import SHOWCASE_PATHS, VIDEO_QUALITIES, ExportOptions
from scene.formats.registry import check_export_folder, export, format_names, formats

_MAX_VIDEO_SIZE = 8192
_DEPTH_PLACES = {"hcat": "right", "vcat": "below", None: "nowhere"}

WritePrediction = Callable[[DepthAnything3Prediction], None]


@dataclass(frozen=True)
class ExportRequest:
    """The export arguments of `inference`, with their official names in brackets where these differ.

    `formats`: names joined by "-" [export_format]. `render_extrinsics` camera_from_world (M, 3 or 4, 4),
    `render_intrinsics` (M, 3, 3) and `render_size` (H, W): cameras of gs_video [render_exts, render_ixts, render_hw].
    `format_options`: per format its own options [export_kwargs]. `has_*`: contents of the prediction.
    """

    folder: Path
    formats: str
    conventions: Conventions
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    show_cameras: bool = True
    feature_rate: float = 15.0
    render_extrinsics: Any = None
    render_intrinsics: Any = None
    render_size: tuple[int, int] | None = None
    format_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_cameras: bool = True
    has_gaussians: bool = False
    has_features: bool = False


def prepare_exports(request: ExportRequest) -> WritePrediction:
    """A function that writes a prediction as requested. Raises `InputError`, before the network runs, for a request
    that cannot be fulfilled."""
    names = format_names(request.formats)
    if request.conventions.exports_video_with_gaussians and "gs_ply" in names and "gs_video" not in names:
        names.append("gs_video")
    for name in names:
        _check_needs(name, request)
    check_export_folder(request.folder)
    options = _export_options(request)
    video_cameras = _VideoCameras(request)

    def write(prediction: DepthAnything3Prediction) -> None:
        cameras = video_cameras(prediction) if "gs_video" in names else None
        export(prediction, request.folder, names, replace(options, video_cameras=cameras))

    return write


def _check_needs(name: str, request: ExportRequest) -> None:
    needs = formats()[name].needs
    if {"gaussians", "pixel_gaussians"} & set(needs) and not request.has_gaussians:
        raise InputError(f"The format {name} needs Gaussians; add infer_gs=True (da3-giant and da3-nested have them).")
    if "features" in needs and not request.has_features:
        raise InputError(f"The format {name} needs features; name their blocks in export_feat_layers.")
    if {"cameras", "points"} & set(needs) and not request.has_cameras:
        raise InputError(f"The format {name} needs cameras, which this model does not predict; use mini_npz-depth_vis.")


def _export_options(request: ExportRequest) -> ExportOptions:
    if not isinstance(request.format_options, Mapping):
        raise InputError("export_kwargs must map formats to their options.")
    options = ExportOptions(
        confidence_percentile=request.confidence_percentile,
        max_points=int(request.max_points),
        show_cameras=bool(request.show_cameras),
        feature_rate=float(request.feature_rate),
        depth_vis_beside=True,
    )
    changes: dict[str, Any] = {}
    for name, given in request.format_options.items():
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
    return replace(options, **changes)


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
#: `_VideoCameras`
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


class _VideoCameras:
    """Makes the cameras along which the path of gs_video leads. Raises `InputError` when it is created, before there is
    a prediction, for given cameras that cannot be used."""

    def __init__(self, request: ExportRequest) -> None:
        options = dict(request.format_options.get("gs_video") or {})
        self._conventions = request.conventions
        self._poses = _matrices("render_exts", _first(request.render_extrinsics, options.get("extrinsics")), (3, 4), 4)
        self._intrinsics = _matrices(
            "render_ixts", _first(request.render_intrinsics, options.get("intrinsics")), (3,), 3
        )
        self._size = _size(_first(request.render_size, options.get("out_image_hw")))
        if self._poses is not None and self._intrinsics is not None and len(self._poses) != len(self._intrinsics):
            raise InputError(
                f"There are {len(self._poses)} render_exts and {len(self._intrinsics)} render_ixts; give as many."
            )

    def __call__(self, prediction: DepthAnything3Prediction) -> list[Camera]:
        """The given cameras, or those of `prediction`, at the given size."""
        predicted = prediction.cameras()
        if prediction.scale_factor is not None and not self._conventions.scales_gaussians_and_rays:
            # the Gaussians of the nested model are then in the unit of its any-view network
            predicted = [_moved_nearer(camera, prediction.scale_factor) for camera in predicted]
        height, width = self._size or prediction.depth.shape[1:]
        poses = self._poses if self._poses is not None else [camera.world_from_camera for camera in predicted]
        if self._intrinsics is None:
            resized = [camera.resized(width, height) for camera in predicted]
            if len(resized) != len(poses):
                resized = resized[:1] * len(poses)
            return [camera.moved(pose) for camera, pose in zip(resized, poses, strict=True)]
        if len(self._intrinsics) != len(poses):
            raise InputError(f"There are {len(self._intrinsics)} render_ixts for {len(poses)} cameras; give as many.")
        return [
            Camera.from_intrinsics(width, height, matrix, pose)
            for matrix, pose in zip(self._intrinsics, poses, strict=True)
        ]


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _matrices(what: str, values: Any, rows: tuple[int, ...], columns: int) -> np.ndarray | None:
    """`values` as float64 (M, rows, columns). Poses, which have four columns, are inverted: from camera_from_world to
    world_from_camera (M, 4, 4). Raises `InputError` for other shapes and for values that are no cameras."""
    if values is None:
        return None
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, np.float64)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    wanted = " or ".join(f"(M, {count}, {columns})" for count in rows)
    if array.ndim != 3 or not len(array) or array.shape[1] not in rows or array.shape[2] != columns:
        raise InputError(f"The {what} have the shape {array.shape}; give {wanted}.")
    if not np.isfinite(array).all():
        raise InputError(f"The {what} hold values that are not finite.")
    if columns == 3:
        if (array[:, [0, 1], [0, 1]] <= 0).any():
            raise InputError(f"Focal lengths in the {what} must be above zero.")
        return array
    poses = np.tile(np.eye(4), (len(array), 1, 1))
    poses[:, :3] = array[:, :3]
    rotation = poses[:, :3, :3]
    if np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max() > 1e-2:
        raise InputError(f"The {what} contain no rotations; give camera from world matrices.")
    return np.linalg.inv(poses)


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


def _moved_nearer(camera: Camera, scale: float) -> Camera:
    """The camera with its distance from the origin divided by `scale`."""
    pose = camera.world_from_camera.copy()
    pose[:3, 3] /= scale
    return camera.moved(pose)

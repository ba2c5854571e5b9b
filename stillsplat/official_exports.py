"""The export arguments of Depth Anything 3's own interface, as `DepthAnything3.inference` takes them, in our terms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from dynamic_predictor.depth_anything3.exporting import ExportRequest, WritePrediction
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.gs_video import VideoQuality
from scene.showcase_paths import SHOWCASE_PATHS
from stillsplat.prediction_export import EXPORT_FORMATS, ExportSettings, export_prediction, format_names

_DEPTH_PLACES = {"hcat": "right", "vcat": "below", None: "nowhere"}
_LARGEST_VIDEO = 8192


def prepare_exports(request: ExportRequest) -> WritePrediction:
    """What writes a prediction as `request` says; `InputError` for what cannot be written."""
    names = format_names(request.formats)
    if request.strict_official and "gs_ply" in names and "gs_video" not in names:
        names.append("gs_video")  # the official interface makes the video with the file, asked or not
    for name in names:
        _check_format(name, request)
    settings = _settings(request)
    view = _VideoView(request)

    def write(prediction: DepthAnything3Prediction) -> None:
        cameras = view.cameras(prediction) if "gs_video" in names else None
        export_prediction(prediction, request.folder, names, replace(settings, video_cameras=cameras))

    return write


def _check_format(name: str, request: ExportRequest) -> None:
    needs = EXPORT_FORMATS[name].needs
    if "gaussians" in needs and not request.has_gaussians:
        raise InputError(f"The format {name} needs Gaussians; add infer_gs=True (da3-giant and da3-nested have them).")
    if "features" in needs and not request.has_features:
        raise InputError(f"The format {name} needs features; name their blocks in export_feat_layers.")
    if "extrinsics" in needs and not request.has_cameras:
        raise InputError(f"The format {name} needs cameras, which this model does not predict; use mini_npz-depth_vis.")
    if request.folder.exists() and not request.folder.is_dir():
        raise InputError(f"{request.folder} exists and is not a folder; choose another place for the exports.")


def _settings(request: ExportRequest) -> ExportSettings:
    if not isinstance(request.options, Mapping):
        raise InputError("export_kwargs must map formats to their options.")
    settings = ExportSettings(
        confidence_percentile=request.confidence_percentile,
        max_points=int(request.max_points),
        show_cameras=bool(request.show_cameras),
        feature_rate=float(request.feature_rate),
    )
    changes: dict[str, Any] = {}
    for name, options in request.options.items():
        if name not in EXPORT_FORMATS:
            raise InputError(
                f'export_kwargs names "{name}"; there is no such format among {", ".join(EXPORT_FORMATS)}.'
            )
        known = _OPTIONS.get(name, {})
        for option, value in (options or {}).items():
            if option not in known:
                offered = f"choose from: {', '.join(known)}" if known else "it has none"
                raise InputError(f'The format {name} has no option "{option}"; {offered}.')
            setting = known[option]
            if setting is None:
                continue
            field, convert = setting
            try:
                changes[field] = convert(value)
            except (TypeError, ValueError, KeyError) as error:
                raise InputError(f"The option {option} of {name} cannot be {value!r}.") from error
    return replace(settings, **changes)


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
#: official option -> our setting and what makes its value; None: of no use here, or read elsewhere
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
        "video_quality": ("quality", _one_of(get_args(VideoQuality))),
        "vis_depth": ("depth_beside", _DEPTH_PLACES.__getitem__),
        "output_name": ("video_name", lambda name: None if name is None else str(name)),
        "extrinsics": None,
        "intrinsics": None,
        "out_image_hw": None,
        # one image is rendered at a time, its depth is the expected one, and progress is the caller's
        "chunk_size": None,
        "color_mode": None,
        "enable_tqdm": None,
    },
}


class _VideoView:
    """The cameras that a video's path goes along, checked before there is a prediction."""

    def __init__(self, request: ExportRequest) -> None:
        options = dict(request.options.get("gs_video") or {}) if isinstance(request.options, Mapping) else {}
        self._strict = request.strict_official
        self._poses = _matrices("render_exts", _first(request.render_extrinsics, options.get("extrinsics")), (3, 4), 4)
        self._intrinsics = _matrices(
            "render_ixts", _first(request.render_intrinsics, options.get("intrinsics")), (3,), 3
        )
        self._size = _size(_first(request.render_size, options.get("out_image_hw")))
        if self._poses is not None and self._intrinsics is not None and len(self._poses) != len(self._intrinsics):
            raise InputError(
                f"There are {len(self._poses)} render_exts and {len(self._intrinsics)} render_ixts; give as many."
            )

    def cameras(self, prediction: DepthAnything3Prediction) -> list[Camera]:
        """The given cameras, or those of `prediction` where none were given; at the given size."""
        predicted = prediction.cameras()
        if self._strict and prediction.scale_factor is not None:
            # the official Gaussians of the nested model lie in the any-view network's unit
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
            Camera(width, height, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), pose)
            for k, pose in zip(self._intrinsics, poses, strict=True)
        ]


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _matrices(what: str, values: Any, rows: tuple[int, ...], columns: int) -> np.ndarray | None:
    """(M, rows, columns) float64; camera-from-world poses come back as world-from-camera 4x4."""
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
        raise InputError(f"The {what} have no rotations in them; give camera from world matrices.")
    return np.linalg.inv(poses)


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError) as error:
        raise InputError(f"render_hw must be a height and a width, not {value!r}.") from error
    if not (0 < height <= _LARGEST_VIDEO and 0 < width <= _LARGEST_VIDEO):
        raise InputError(f"render_hw must be from 1 to {_LARGEST_VIDEO} pixels, not {height}x{width}.")
    return height, width


def _moved_nearer(camera: Camera, scale: float) -> Camera:
    pose = camera.world_from_camera.copy()
    pose[:3, 3] /= scale
    return camera.moved(pose)

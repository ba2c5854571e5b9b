"""All images of a source seen together by one Depth Anything 3 prediction, which is exported as it is."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.depth_anything3.model import ImageWarning
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.driver.predictors import (
    DEPTH_ANYTHING_3,
    DEPTH_ANYTHING_3_SIZE,
    load_depth_anything3,
)
from dynamic_predictor.driver.sources import FrameSource, ImageFiles
from scene.errors import InputError
from scene.progress import Progress
from stillsplat.prediction_export import EXPORT_FORMATS, format_names


@dataclass(frozen=True)
class ExportChoices:
    """What is exported, and what else Depth Anything 3's own interface can be told; names of its arguments where they
    differ are in brackets."""

    #: names joined by "-" [export_format]
    formats: str
    #: blocks of the backbone for feat_vis [export_feat_layers]
    feature_blocks: tuple[int, ...] = ()
    #: percent of the least sure pixels that give no points [conf_thresh_percentile]
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    show_cameras: bool = True
    #: images per second of feat_vis [feat_vis_fps]
    feature_rate: float = 15.0
    #: path and quality of gs_video
    trajectory: str = "extend"
    quality: str = "high"
    #: cameras from the ray maps [use_ray_pose]
    cameras_from_rays: bool = False
    #: which image the others are told about [ref_view_strategy]
    reference_view: str = "saddle_balanced"
    #: how images are brought to size [process_res_method]
    resize_method: str = "upper_bound_resize"


def check_export(predictor: str, choices: ExportChoices) -> None:
    """`InputError` for what can be seen to be wrong before weights and images are read."""
    names = format_names(choices.formats)
    if not predictor.startswith(DEPTH_ANYTHING_3):
        raise InputError(
            f"--export is for Depth Anything 3; choose --predictor da3-small or another one, not {predictor}."
        )
    if "feat_vis" in names and not choices.feature_blocks:
        raise InputError("The format feat_vis needs --export-features, the blocks whose features are shown: 5,11.")


def predict_and_export(
    source: FrameSource,
    predictor: str,
    folder: Path,
    choices: ExportChoices,
    *,
    weights: str | None = None,
    metric: bool = False,
    fov: float | None = None,
    resolution: int | None = None,
    max_frames: int | None = None,
    progress: Progress,
    warn: Callable[[str], None],
) -> DepthAnything3Prediction:
    """The prediction of all images of `source` at once, exported into `folder`. `metric` asks for metres, for which
    a metric model must know the horizontal angle of view `fov`, degrees. Raises `InputError` for what the model cannot
    do, for more images than fit into memory, and for a live source without `max_frames`."""
    check_export(predictor, choices)
    if source.is_live and max_frames is None:
        raise InputError("A live source has no end; give --max-frames with --export.")
    model = load_depth_anything3(predictor, weights)
    if metric and model.metric and fov is None:
        raise InputError(f"{predictor} needs the angle of view for depth in metres; give --fov DEGREES.")
    images: list[Any]
    if isinstance(source, ImageFiles) and not (metric and model.metric):
        images = list(source.files)
    else:
        images = [picture for _, picture in source.images()]
    if not images:
        raise InputError(f"{source.title} has no images.")
    if source.ended:
        warn(source.ended)
    intrinsics = None
    if metric and model.metric and fov is not None:
        intrinsics = np.stack([_intrinsics(image.shape[1], image.shape[0], fov) for image in images])
    progress("network and exports", 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)  # told by `warn`, below
        prediction = model.inference(
            images,
            intrinsics=intrinsics,
            infer_gs=any("gaussians" in EXPORT_FORMATS[name].needs for name in format_names(choices.formats)),
            use_ray_pose=choices.cameras_from_rays,
            ref_view_strategy=choices.reference_view,  # type: ignore[arg-type]
            process_res=resolution or DEPTH_ANYTHING_3_SIZE,
            process_res_method=choices.resize_method,  # type: ignore[arg-type]
            export_dir=folder,
            export_format=choices.formats,
            export_feat_layers=choices.feature_blocks,
            conf_thresh_percentile=choices.confidence_percentile,
            num_max_points=choices.max_points,
            show_cameras=choices.show_cameras,
            feat_vis_fps=choices.feature_rate,
            export_kwargs={"gs_video": {"trj_mode": choices.trajectory, "video_quality": choices.quality}},
        )
    progress("network and exports", 1, 1)
    for sentence in prediction.warnings:
        warn(sentence)
    if metric and not prediction.is_metric:
        raise InputError(f"{predictor} knows no metres; use da3-nested, or da3-metric with --fov.")
    return prediction


def _intrinsics(width: int, height: int, fov: float) -> np.ndarray:
    focal = width / 2.0 / math.tan(math.radians(fov) / 2.0)
    return np.array([[focal, 0.0, width / 2.0], [0.0, focal, height / 2.0], [0.0, 0.0, 1.0]])

"""The models of Depth Anything 3 behind the interface of the official package: `DepthAnything3(...).inference(...)`."""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynamic_predictor.depth_anything3.checkpoint import load_model
from dynamic_predictor.depth_anything3.inputs import as_list, checked_cameras
from dynamic_predictor.depth_anything3.memory import memory_budget
from dynamic_predictor.depth_anything3.network import ForwardOptions, MonocularNetwork, Network
from dynamic_predictor.depth_anything3.official import conventions
from dynamic_predictor.depth_anything3.official_exports import prepare_exports
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.preprocessing import process_images
from dynamic_predictor.depth_anything3.running import predict, replace_cameras, scale_to_meters
from dynamic_predictor.depth_anything3.settings import NestedSettings, Precision, ReferenceStrategy, ResizeMethod
from dynamic_predictor.networks.devices import DEVICES, resolved_device
from scene.errors import InputError
from scene.formats.options import ExportOptions


class ImageWarning(UserWarning):
    """Warns that images were cropped; the sentence is also in `DepthAnything3Prediction.warnings`."""


class DepthAnything3:
    """A network with its weights.

    `metric`: its depth times focal length / 300 is in meters. `device`: "auto" is a GPU where there is one.
    `precision`: the type that the backbone computes in; "auto" is bfloat16 on GPUs that support it, otherwise float32.
    `memory_budget`: bytes of the device that a prediction may take in addition to the weights; by default 60 % of the
    free memory. `seed` determines the random samples of cameras from rays. `strict_official`: follow the official code
    in every detail, including its mistakes (listed in `official.py`).
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str = "",
        metric: bool = False,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        memory_budget: int | None = None,
        seed: int = 0,
        strict_official: bool = False,
    ) -> None:
        self.name = name
        self.metric = metric
        self.device = _device(device)
        self.memory_budget = memory_budget
        self.seed = seed
        self.conventions = conventions(strict_official)
        self.network = network.to(self.device).eval()
        self._requested_precision: Precision = precision
        self.network.precision = _precision(precision, self.device)
        settings = network.settings
        self._settings = settings.any_view if isinstance(settings, NestedSettings) else settings

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, expected: str | None = None, **options: Any
    ) -> "DepthAnything3":
        """A published model by its name ("da3-small", "depth-anything/DA3-SMALL", ...) or by the path of its weights, a
        file or folder, which must hold the model called `expected`, if given. `options` are those of the constructor.
        Raises `InputError` if the weights are missing or do not fit."""
        model, network = load_model(name_or_folder, expected=expected)
        return cls(network, name=model.name, metric=model.metric, **options)

    @property
    def predicts_cameras(self) -> bool:
        """Whether predictions include cameras: those of any-view and nested models do, of monocular ones do not."""
        return not isinstance(self.network, MonocularNetwork)

    @property
    def has_gaussians(self) -> bool:
        """Whether the model can predict Gaussians (`infer_gs`), as the giant and nested models can."""
        return self._settings.gaussians

    def to(self, device: str | torch.device) -> "DepthAnything3":
        """Moves the network to `device` and returns the model."""
        self.device = _device(device)
        self.network.to(self.device)
        self.network.precision = _precision(self._requested_precision, self.device)
        return self

    @torch.inference_mode()
    def inference(
        self,
        images: Any = None,
        extrinsics: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
        align_to_input_ext_scale: bool = True,
        infer_gs: bool = False,
        use_ray_pose: bool = False,
        ref_view_strategy: ReferenceStrategy = "saddle_balanced",
        render_exts: np.ndarray | None = None,
        render_ixts: np.ndarray | None = None,
        render_hw: tuple[int, int] | None = None,
        process_res: int = 504,
        process_res_method: ResizeMethod = "upper_bound_resize",
        export_dir: str | Path | None = None,
        export_format: str = "mini_npz",
        export_feat_layers: Collection[int] | None = None,
        conf_thresh_percentile: float = 40.0,
        num_max_points: int = 1_000_000,
        show_cameras: bool = True,
        feat_vis_fps: float = 15,
        export_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        export_rays: bool = False,
        image: Any = None,
    ) -> DepthAnything3Prediction:
        """Predicts depth and, with any-view and nested models, cameras of `images` of one scene.

        `images`: an image, a list of images (paths, PIL images, RGB arrays or tensors, see
        `preprocessing.process_images`) or a folder. Images of different shapes are cropped to a common size, with an
        `ImageWarning`. All arguments are those of the official package, which calls this one `image`; both work.

        Known cameras: `extrinsics` (N, 3 or 4, 4) camera from world, OpenCV axes, with `intrinsics` (N, 3, 3) in pixels
        of the given images. The prediction then has these intrinsics at the processed size and, with
        `align_to_input_ext_scale`, these extrinsics, and depth in their unit; without it, the known cameras are
        transformed into the predicted world. A metric model with `intrinsics` alone predicts depth in meters.

        `infer_gs`: also predict Gaussians. `use_ray_pose`: cameras from the ray maps instead of the camera decoder.
        `ref_view_strategy`: how the reference view is chosen. `process_res`, `process_res_method`: size of the images
        that the network receives. `export_feat_layers`: blocks of the backbone whose features are returned in `aux`;
        `export_rays`: return ray maps too.

        `export_dir`: a folder to which the prediction is written in each format of `export_format`, joined by "-"
        ("mini_npz-glb"; see docs/exports.md). `conf_thresh_percentile`, `num_max_points`: percentage of the least
        confident pixels that are excluded from point clouds, and the largest number of points. `show_cameras`: draw
        cameras in the glb. `feat_vis_fps`: images per second of feat_vis. `render_exts`, `render_ixts`, `render_hw`:
        cameras and size (H, W) of gs_video. `export_kwargs`: format -> options of its own.

        Raises `InputError` for unusable input and for exports that need more than this model predicts.
        """
        if (images is None) == (image is None):
            raise InputError("Give the images, once: images or image.")
        inputs = as_list(image if images is None else images)
        if extrinsics is not None and intrinsics is None:
            raise InputError("Poses were given without intrinsics; give intrinsics (N, 3, 3) of the images too.")
        extrinsics, intrinsics = checked_cameras(extrinsics, intrinsics, len(inputs))
        layers = tuple(export_feat_layers or ())
        self._check_request(poses=extrinsics is not None or use_ray_pose, gaussians=infer_gs, layers=layers)
        write = None
        if export_dir is not None:
            export_options = ExportOptions(
                confidence_percentile=conf_thresh_percentile,
                max_points=int(num_max_points),
                show_cameras=bool(show_cameras),
                feature_rate=float(feat_vis_fps),
                depth_vis_beside=True,
            )
            write = prepare_exports(
                Path(export_dir),
                export_format,
                export_options,
                export_kwargs or {},
                {"extrinsics": render_exts, "intrinsics": render_ixts, "out_image_hw": render_hw},
                self.conventions,
                has_cameras=self.predicts_cameras,
                has_gaussians=infer_gs,
                has_features=bool(layers),
            )
        processed = process_images(
            inputs,
            intrinsics,
            process_res=process_res,
            method=process_res_method,
            apply_orientation=self.conventions.applies_exif_orientation,
        )
        for sentence in processed.warnings:
            warnings.warn(sentence, ImageWarning, stacklevel=3)  # past the decorator, to the caller
        options = ForwardOptions(
            rays=export_rays,
            cameras_from_rays=use_ray_pose,
            gaussians=infer_gs,
            reference_strategy=ref_view_strategy,
            feature_layers=layers,
            conventions=self.conventions,
            seed=self.seed,
        )
        budget = memory_budget(self.device, self.memory_budget)
        prediction = predict(self.network, processed, extrinsics, options, device=self.device, budget=budget)
        known = processed.intrinsics
        if extrinsics is not None and known is not None:
            replace_cameras(prediction, extrinsics, known, self.conventions, to_known_unit=align_to_input_ext_scale)
        elif known is not None and self.metric and self.conventions.scales_metric_model:
            scale_to_meters(prediction, known)
        if not np.isfinite(prediction.depth).all():
            raise InputError(f"{self._title} gives depth that is not finite; are these the weights that belong to it?")
        if write is not None:
            write(prediction)
        return prediction

    @property
    def _title(self) -> str:
        return self.name or type(self.network).__name__

    def _check_request(self, *, poses: bool, gaussians: bool, layers: Collection[int]) -> None:
        """Raises `InputError` for known poses or cameras from rays, Gaussians and features that the model has not."""
        if poses and not self.predicts_cameras:
            raise InputError(f"{self._title} predicts each image separately and has no use for poses; leave them out.")
        if gaussians and not self.has_gaussians:
            raise InputError(f"{self._title} has no Gaussian head; use da3-giant or da3-nested for infer_gs.")
        blocks = self._settings.backbone.depth
        if any(not 0 <= layer < blocks for layer in layers):
            raise InputError(f"Features come from blocks 0 to {blocks - 1} of this model, not {list(layers)}.")


def _device(device: str | torch.device) -> torch.device:
    if device in DEVICES:
        return torch.device(resolved_device(str(device)))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f'"{device}" is no device; choose "auto", "cpu" or "cuda".') from error
    if chosen.type == "cuda":
        resolved_device("cuda")
    return chosen


def _precision(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    choices = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision not in choices:
        raise InputError(f'There is no precision "{precision}"; choose one of: auto, {", ".join(choices)}.')
    return choices[precision]

"""Depth Anything 3 as people call it: images in, a prediction out."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dynamic_predictor.depth_anything3.checkpoint import load_model
from dynamic_predictor.depth_anything3.exporting import ExportRequest, prepare_exports
from dynamic_predictor.depth_anything3.memory import images_per_batch, memory_budget, views_per_chunk
from dynamic_predictor.depth_anything3.metric_alignment import metric_depth
from dynamic_predictor.depth_anything3.network import (
    AnyViewNetwork,
    ForwardOptions,
    MonocularNetwork,
    NestedNetwork,
    Network,
    NetworkOutput,
)
from dynamic_predictor.depth_anything3.pose_alignment import align_to_known_cameras, normalize_cameras
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.preprocessing import ProcessedImages, ResizeMethod, process_images, restored
from dynamic_predictor.depth_anything3.reference_view import ReferenceStrategy
from dynamic_predictor.depth_anything3.settings import NestedSettings
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from scene.errors import InputError
from scene.frames import list_images

Precision = Literal["auto", "float32", "bfloat16"]

#: sky maps of the networks are sky from here on, for people
_SKY_FROM = 0.5


class ImageWarning(UserWarning):
    """Images were not taken as they are; the sentence is in `DepthAnything3Prediction.warnings` too."""


class DepthAnything3:
    """A network with its weights, ready to be asked.

    `metric`: its depth times focal / 300 is in metres. `device`: "auto" takes a GPU where there is one. `precision`:
    what the backbone computes in; "auto" is bfloat16 on GPUs that have it and float32 elsewhere. `memory_budget`: bytes
    that a prediction may take above the weights, on the device; by default a share of what is free. `seed` fixes what
    is random (cameras from rays). `strict_official`: the official code's mistakes too, listed in
    docs/depth_anything3.md.
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
        self.strict_official = strict_official
        self.network = network.to(self.device).eval()
        self._asked_precision: Precision = precision
        self.network.precision = _precision(precision, self.device)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, expected: str | None = None, **options: Any
    ) -> "DepthAnything3":
        """A published model by name ("da3-small", "depth-anything/DA3-SMALL", ...) or by the folder or file that holds
        its weights, which must be those of the model called `expected`, if one is; `options` as for the class. Raises
        `InputError` when the weights are not there or do not fit."""
        model, network = load_model(name_or_folder, expected=expected)
        return cls(network, name=model.name, metric=model.metric, **options)

    @property
    def predicts_cameras(self) -> bool:
        """Whether predictions have cameras: any-view and nested models, not monocular ones."""
        return not isinstance(self.network, MonocularNetwork)

    @property
    def has_gaussians(self) -> bool:
        """Whether `infer_gs` works: the giant and nested models."""
        settings = self.network.settings
        return (settings.any_view if isinstance(settings, NestedSettings) else settings).gaussians

    def to(self, device: str | torch.device) -> "DepthAnything3":
        """Moves the network to `device`; returns the model itself."""
        self.device = _device(device)
        self.network.to(self.device)
        self.network.precision = _precision(self._asked_precision, self.device)
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
        """What the model says about `images`: a image, a list of images (paths, PIL, RGB arrays or tensors; see
        `preprocessing.process_images`) or a folder of images, of one scene. The official package calls this
        argument `image`, which is understood too; the others have its names, order and defaults. Images of different
        shapes are cropped to what all have, with a `ImageWarning`.

        Known cameras: `extrinsics` (N, 3 or 4, 4) camera from world, OpenCV axes, together with `intrinsics` (N, 3, 3)
        in pixels of the images as given. The prediction then has the given intrinsics at the processed size and, with
        `align_to_input_ext_scale`, the given extrinsics and depth in their unit; without it, the given cameras moved
        into the predicted world, whose depth stays as it is. A metric model with `intrinsics` alone gives metres.

        `infer_gs`: also Gaussians. `use_ray_pose`: cameras from the ray maps instead of the camera decoder.
        `ref_view_strategy`: which view the others are told about. `process_res`, `process_res_method`: the size that
        the network sees. `export_feat_layers`: blocks of the backbone whose features come in `aux`; `export_rays`: ray
        maps too.

        `export_dir`: a folder to which the prediction is written, in every one of `export_format` ("mini_npz-glb"; see
        docs/exports.md). `conf_thresh_percentile`, `num_max_points`: points in percent of the least sure pixels that
        give none, and at most so many; `show_cameras`: in the glb; `feat_vis_fps`: images per second of feat_vis.
        `render_exts`, `render_ixts`, `render_hw`: cameras of gs_video, (M, 4, 4) camera from world and (M, 3, 3), and
        its size (H, W). `export_kwargs`: format -> options of its own.

        Raises `InputError` for input that cannot be used and for exports that this model has nothing for.
        """
        if (images is None) == (image is None):
            raise InputError("Give the images, once: images or image.")
        images = image if images is None else images
        export_feat_layers = export_feat_layers or ()
        pictures = as_list(images)
        extrinsics, intrinsics = _checked_cameras(len(pictures), extrinsics, intrinsics)
        if not self.predicts_cameras and (extrinsics is not None or use_ray_pose):
            raise InputError(f"{self._title} looks at every image by itself and has no use for poses; leave them out.")
        if infer_gs and not self.has_gaussians:
            raise InputError(f"{self._title} has no Gaussian head; use da3-giant or da3-nested for infer_gs.")
        blocks = self._depth_of_backbone
        if any(not 0 <= layer < blocks for layer in export_feat_layers):
            raise InputError(
                f"Features come from blocks 0 to {blocks - 1} of this model, not {list(export_feat_layers)}."
            )
        write = None
        if export_dir is not None:
            write = prepare_exports(
                ExportRequest(
                    folder=Path(export_dir),
                    formats=export_format,
                    confidence_percentile=conf_thresh_percentile,
                    max_points=num_max_points,
                    show_cameras=show_cameras,
                    feature_rate=feat_vis_fps,
                    render_extrinsics=render_exts,
                    render_intrinsics=render_ixts,
                    render_size=render_hw,
                    options=export_kwargs or {},
                    has_cameras=self.predicts_cameras,
                    has_gaussians=infer_gs,
                    has_features=bool(export_feat_layers),
                    strict_official=self.strict_official,
                )
            )
        processed = process_images(
            pictures,
            intrinsics,
            process_res=process_res,
            method=process_res_method,
            apply_orientation=not self.strict_official,
        )
        for sentence in processed.warnings:
            warnings.warn(sentence, ImageWarning, stacklevel=3)  # past the decorator, to the caller
        options = ForwardOptions(
            rays=export_rays,
            cameras_from_rays=use_ray_pose,
            gaussians=infer_gs,
            reference_strategy=ref_view_strategy,
            feature_layers=tuple(export_feat_layers),
            strict_official=self.strict_official,
            seed=self.seed,
        )
        with working_memory(self.device):
            prediction = self._prediction(self._run(processed, extrinsics, options), processed)
        if extrinsics is not None:
            self._align(prediction, extrinsics, processed, align_to_input_ext_scale)
        elif self.metric and processed.intrinsics is not None and not self.strict_official:
            matrices = torch.from_numpy(processed.intrinsics)
            prediction.depth = metric_depth(torch.from_numpy(prediction.depth), matrices).float().numpy()
            prediction.intrinsics = processed.intrinsics.astype(np.float32)
            prediction.is_metric = True
        if not np.isfinite(prediction.depth).all():
            raise InputError(f"{self._title} gives depth that is not finite; are these the weights that belong to it?")
        if write is not None:
            write(prediction)
        return prediction

    @property
    def _title(self) -> str:
        return self.name or type(self.network).__name__

    @property
    def _depth_of_backbone(self) -> int:
        settings = self.network.settings
        return (settings.any_view if isinstance(settings, NestedSettings) else settings).backbone.depth

    def _run(self, processed: ProcessedImages, extrinsics: np.ndarray | None, options: ForwardOptions) -> NetworkOutput:
        """The network's output, batch 1."""
        count, height, width = processed.images.shape[:3]
        settings, size = self.network.settings, (height, width)
        budget = memory_budget(self.device, self.memory_budget)
        if isinstance(self.network, MonocularNetwork):
            chunk = images_per_batch(settings, size, budget)
        else:
            chunk = views_per_chunk(settings, count, size, budget, gaussians=options.gaussians)
        options = ForwardOptions(**{**vars(options), "views_per_chunk": chunk})
        images = processed.tensor()[None].to(self.device)
        if isinstance(self.network, MonocularNetwork):
            return self.network(images, options)
        assert isinstance(self.network, AnyViewNetwork | NestedNetwork)
        if extrinsics is None:
            return self.network(images, options)
        assert processed.intrinsics is not None
        known = normalize_cameras(extrinsics, strict_official=self.strict_official)
        return self.network(
            images,
            options,
            camera_from_world=torch.from_numpy(known).float()[None].to(self.device),
            intrinsics=torch.from_numpy(processed.intrinsics).float()[None].to(self.device),
        )

    def _prediction(self, output: NetworkOutput, processed: ProcessedImages) -> DepthAnything3Prediction:
        def array(values: torch.Tensor | None) -> np.ndarray | None:
            return None if values is None else values[0].float().cpu().numpy()

        depth = array(output.depth)
        assert depth is not None
        features = {f"feat_layer_{layer}": values[0].cpu().numpy() for layer, values in output.features.items()}
        rays = {"ray": array(output.ray), "ray_conf": array(output.ray_confidence)}
        return DepthAnything3Prediction(
            depth=depth,
            is_metric=output.scale is not None,
            conf=array(output.confidence),
            extrinsics=array(output.camera_from_world),
            intrinsics=array(output.intrinsics),
            processed_images=restored(processed.tensor()) if self.strict_official else processed.images,
            sky=None if output.sky is None else (output.sky[0] >= _SKY_FROM).cpu().numpy(),
            gaussians=output.gaussians,
            aux={**features, **{name: values for name, values in rays.items() if values is not None}},
            scale_factor=None if output.scale is None else float(output.scale[0]),
            originals=processed.originals,
            warnings=list(processed.warnings),
        )

    def _align(
        self, prediction: DepthAnything3Prediction, extrinsics: np.ndarray, processed: ProcessedImages, to_input: bool
    ) -> None:
        """Brings a prediction that was conditioned on `extrinsics` and these cameras together."""
        assert prediction.extrinsics is not None and processed.intrinsics is not None
        prediction.intrinsics = processed.intrinsics.astype(np.float32)
        similarity = align_to_known_cameras(prediction.extrinsics, extrinsics, strict_official=self.strict_official)
        if not to_input:
            rows = 4 if self.strict_official else 3
            prediction.extrinsics = similarity.moved(extrinsics)[:, :rows].astype(np.float32)
            return
        prediction.extrinsics = extrinsics[:, :3].astype(np.float32)
        prediction.depth = (prediction.depth / np.float32(similarity.scale)).astype(np.float32)
        # the unit is now that of the given cameras, whatever it is
        prediction.is_metric = prediction.is_metric and self.strict_official


def working_memory(device: torch.device) -> AbstractContextManager[None]:
    """What a network on `device` should run in."""
    return kept_freed_memory() if device.type == "cpu" else nullcontext()


def as_list(images: Any) -> list[Any]:
    """One image or several as a list, those in a folder in natural order; `InputError` when there are none."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        files = list_images(Path(images))
        if not files:
            raise InputError(f"{images} holds no images; give a folder of images, or their paths.")
        return list(files)
    if isinstance(images, np.ndarray | torch.Tensor):
        pictures = list(images) if images.ndim == 4 else [images]
    else:
        pictures = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    if not pictures:
        raise InputError("There are no images; give at least one.")
    return pictures


def _checked_cameras(count: int, extrinsics: Any, intrinsics: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Given cameras as float64 (N, 4, 4) and (N, 3, 3)."""
    if extrinsics is not None and intrinsics is None:
        raise InputError("Poses were given without intrinsics; give intrinsics (N, 3, 3) of the images too.")
    poses = _checked("extrinsics", extrinsics, count, ((3, 4), (4, 4)))
    matrices = _checked("intrinsics", intrinsics, count, ((3, 3),))
    if poses is not None and poses.shape[1] == 3:
        poses = np.concatenate([poses, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (count, 1, 1))], axis=1)
    if poses is not None:
        rotation = poses[:, :3, :3]
        error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        if error.max() > 1e-2 or (np.linalg.det(rotation) < 0).any():
            raise InputError(
                f"The pose of image {int(error.argmax())} has no rotation in it; give camera from world matrices "
                "with OpenCV axes (x right, y down, z forward)."
            )
    if matrices is not None and (matrices[:, [0, 1], [0, 1]] <= 0).any():
        raise InputError("Focal lengths in the intrinsics must be above zero.")
    return poses, matrices


def _checked(what: str, values: Any, count: int, shapes: tuple[tuple[int, int], ...]) -> np.ndarray | None:
    if values is None:
        return None
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, np.float64)
    if array.ndim != 3 or array.shape[1:] not in shapes:
        wanted = " or ".join(f"(N, {rows}, {columns})" for rows, columns in shapes)
        raise InputError(f"The {what} have the shape {array.shape}; give {wanted}, one for each image.")
    if len(array) != count:
        raise InputError(f"There are {len(array)} {what} for {count} images; give one for each image.")
    if not np.isfinite(array).all():
        raise InputError(f"The {what} hold values that are not finite.")
    return array


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f'"{device}" is no device; choose "auto", "cpu" or "cuda".') from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("This machine or this build of torch has no CUDA device; use the device cpu.")
    return chosen


def _precision(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    choices = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision not in choices:
        raise InputError(f'There is no precision "{precision}"; choose one of: auto, {", ".join(choices)}.')
    return choices[precision]

"""One pass of a network over processed images, and the conversion of its output to a prediction."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch

from dynamic_predictor.depth_anything3.memory import images_per_batch, views_per_chunk
from dynamic_predictor.depth_anything3.metric_alignment import metric_depth
from dynamic_predictor.depth_anything3.network import ForwardOptions, MonocularNetwork, Network, NetworkOutput
from dynamic_predictor.depth_anything3.official import Conventions
from dynamic_predictor.depth_anything3.pose_alignment import align_cameras, normalize_cameras, transform_cameras
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.preprocessing import ProcessedImages
from dynamic_predictor.networks.freed_memory import kept_freed_memory

#: value of the network's sky map from which on a prediction marks a pixel as sky
_SKY_THRESHOLD = 0.5


def kept_memory(device: torch.device) -> AbstractContextManager[None]:
    """`kept_freed_memory` for networks on a CPU; does nothing on other devices."""
    return kept_freed_memory() if device.type == "cpu" else nullcontext()


def predict(
    network: Network,
    processed: ProcessedImages,
    extrinsics: np.ndarray | None,
    options: ForwardOptions,
    *,
    device: torch.device,
    budget: int,
) -> DepthAnything3Prediction:
    """The prediction of `network`, which is on `device`, within `budget` bytes. Known `extrinsics` (N, 4, 4) with the
    processed intrinsics condition the network. Raises `InputError` if the budget is too small."""
    count, height, width = processed.images.shape[:3]
    images = processed.tensor()[None].to(device)
    with kept_memory(device):
        if isinstance(network, MonocularNetwork):
            chunk = images_per_batch(network.settings, (height, width), budget)
            output = network(images, replace(options, views_per_chunk=chunk))
        else:
            chunk = views_per_chunk(network.settings, count, (height, width), budget, gaussians=options.gaussians)
            known = {}
            if extrinsics is not None:
                assert processed.intrinsics is not None
                cameras = normalize_cameras(extrinsics, conventions=options.conventions)
                known["camera_from_world"] = torch.from_numpy(cameras).float()[None].to(device)
                known["intrinsics"] = torch.from_numpy(processed.intrinsics).float()[None].to(device)
            output = network(images, replace(options, views_per_chunk=chunk), **known)
        return _prediction(output, processed, options.conventions)


def _prediction(
    output: NetworkOutput, processed: ProcessedImages, conventions: Conventions
) -> DepthAnything3Prediction:
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
        processed_images=conventions.returned_images(processed.images, processed.tensor()),
        sky=None if output.sky is None else (output.sky[0] >= _SKY_THRESHOLD).cpu().numpy(),
        gaussians=output.gaussians,
        aux={**features, **{name: values for name, values in rays.items() if values is not None}},
        scale_factor=None if output.scale is None else float(output.scale[0]),
        originals=processed.originals,
        warnings=list(processed.warnings),
    )


def replace_cameras(
    prediction: DepthAnything3Prediction,
    extrinsics: np.ndarray,
    intrinsics: np.ndarray,
    conventions: Conventions,
    *,
    to_known_unit: bool,
) -> None:
    """Replaces the cameras of `prediction` by the known ones: with `to_known_unit` as they are, and scales the depth to
    their unit; otherwise transformed into the predicted world."""
    assert prediction.extrinsics is not None
    prediction.intrinsics = intrinsics.astype(np.float32)
    similarity = align_cameras(prediction.extrinsics, extrinsics, conventions=conventions)
    if not to_known_unit:
        aligned = transform_cameras(similarity, extrinsics)[:, : conventions.rows_of_aligned_cameras]
        prediction.extrinsics = aligned.astype(np.float32)
        return
    prediction.extrinsics = extrinsics[:, :3].astype(np.float32)
    prediction.depth = (prediction.depth / np.float32(similarity.scale)).astype(np.float32)
    prediction.is_metric = prediction.is_metric and not conventions.known_cameras_set_unit


def scale_to_meters(prediction: DepthAnything3Prediction, intrinsics: np.ndarray) -> None:
    """Scales the depth of a metric model to meters by known `intrinsics` (N, 3, 3), which the prediction receives."""
    scaled = metric_depth(torch.from_numpy(prediction.depth), torch.from_numpy(intrinsics))
    prediction.depth = scaled.float().numpy()
    prediction.intrinsics = intrinsics.astype(np.float32)
    prediction.is_metric = True

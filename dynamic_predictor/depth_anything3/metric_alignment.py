"""Depth of sky, depth in meters, and the metric scale of the nested model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.official import OURS, Conventions
from scene.errors import InputError

#: value of the network's sky map from which on a pixel counts as sky inside the networks
SKY_THRESHOLD = 0.3
#: statistics of at most so many pixels (of sky or of the rest) are not used
_FEWEST_PIXELS = 10
#: focal length in pixels that the metric network's depth refers to
_TRAINED_FOCAL = 300.0
#: largest depth of sky in meters
_FARTHEST_SKY = 200.0


def quantile(values: Tensor, fraction: float) -> Tensor:
    """The interpolated quantile of any number of values (`torch.quantile` accepts at most 16 million)."""
    flat = values.flatten()
    place = fraction * (flat.numel() - 1)
    below = int(place)
    low = flat.kthvalue(below + 1).values
    high = flat.kthvalue(min(below + 2, flat.numel())).values
    return torch.lerp(low, high, place - below)


def fill_sky(depth: Tensor, sky: Tensor) -> Tensor:
    """`depth` with sky pixels set to the 0.99 quantile of all other pixels of all views; `sky` has the shape of
    `depth`. Unchanged if there are hardly any pixels of sky, or hardly any others."""
    is_sky = sky >= SKY_THRESHOLD
    if min(int(is_sky.sum()), int((~is_sky).sum())) <= _FEWEST_PIXELS:
        return depth
    return torch.where(is_sky, quantile(depth[~is_sky], 0.99), depth)


def metric_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """The metric network's `depth` (..., H, W) in meters, for `intrinsics` (..., 3, 3) in pixels of these maps."""
    focal = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return depth * (focal / _TRAINED_FOCAL)[..., None, None]


@dataclass
class MetricAlignment:
    """Any-view depth and confidence (S, H, W) and `camera_from_world` (S, 3, 4) in meters, after scaling by `scale`."""

    depth: Tensor
    confidence: Tensor
    camera_from_world: Tensor
    scale: float


def align_to_metric(
    depth: Tensor,
    confidence: Tensor,
    camera_from_world: Tensor,
    metric: Tensor,
    sky: Tensor,
    *,
    conventions: Conventions = OURS,
) -> MetricAlignment:
    """Scales any-view `depth`, `confidence` (S, H, W) and `camera_from_world` (S, 3, 4) to `metric` depth (S, H, W).

    The scale is the least-squares factor over pixels that are not `sky` (S, H, W), have at least the median confidence
    and positive depth. Sky is set to the 0.99 quantile of all other depths, at most 200 m, with confidence 1. Images
    that show only sky are scaled by all their pixels and keep their depth.

    Raises `InputError` if no pixel is usable, and under the official conventions for images that show only sky.
    """
    is_ground = sky < SKY_THRESHOLD
    has_ground = int(is_ground.sum()) > _FEWEST_PIXELS
    if not has_ground:
        is_ground = conventions.ground_of_sky_images(is_ground)
    usable = is_ground & (confidence >= quantile(confidence[is_ground], 0.5)) & (metric > 1e-2) & (depth > 1e-3)
    near, far = depth[usable], metric[usable]
    scale = float((far * near).sum() / (near * near).sum().clamp_min(1e-12))
    if not (usable.any() and scale > 0):
        raise InputError("The metric network finds no usable depth in these images, so they have no metric scale.")
    depth = depth * scale
    moved = camera_from_world.clone()
    moved[..., :3, 3] *= scale
    if has_ground:
        farthest = quantile(depth[is_ground], 0.99).clamp_max(_FARTHEST_SKY)
        depth = torch.where(is_ground, depth, farthest)
        confidence = torch.where(is_ground, confidence, 1.0)
    return MetricAlignment(depth, confidence, moved, scale)

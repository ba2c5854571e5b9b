"""Sky, metres, and how the nested model takes its scale from the metric network."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scene.errors import InputError

#: below this the network's sky map says: not sky
SKY_BORDER = 0.3
#: fewer pixels than this (of sky, or of anything else) say nothing
_FEWEST_PIXELS = 10
#: the metric network was trained for this focal length in pixels
_TRAINED_FOCAL = 300.0
#: sky is never farther than this, in metres
_FARTHEST_SKY = 200.0


def quantile(values: Tensor, fraction: float) -> Tensor:
    """The linearly interpolated quantile of any number of values, as a scalar tensor."""
    flat = values.flatten()
    place = fraction * (flat.numel() - 1)
    below = int(place)
    low = flat.kthvalue(below + 1).values
    high = flat.kthvalue(min(below + 2, flat.numel())).values
    return torch.lerp(low, high, place - below)


def fill_sky(depth: Tensor, sky: Tensor) -> Tensor:
    """`depth` with sky pixels set to the 0.99 quantile of all others; both of one shape, all views together.

    Unchanged where there is no sky to speak of, or nothing else.
    """
    is_sky = sky >= SKY_BORDER
    if min(int(is_sky.sum()), int((~is_sky).sum())) <= _FEWEST_PIXELS:
        return depth
    return torch.where(is_sky, quantile(depth[~is_sky], 0.99), depth)


def metric_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """The metric network's `depth` (..., H, W) in metres, for `intrinsics` (..., 3, 3) in pixels of these maps."""
    focal = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return depth * (focal / _TRAINED_FOCAL)[..., None, None]


@dataclass
class MetricAlignment:
    """Any-view depth and confidence (S, H, W) and `camera_from_world` (S, 3, 4) in metres; `scale` took them there."""

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
    strict_official: bool = False,
) -> MetricAlignment:
    """Scales one scene, any-view `depth`, `confidence` (S, H, W) and `camera_from_world` (S, 3, 4), to `metric` depth.

    The scale is the least-squares factor over pixels that are not sky, of at least median confidence and not
    degenerately near. Sky goes to the 0.99 quantile of all other depths, at most 200 m, with confidence 1.
    Images that are all sky are scaled by all their pixels and keep their depth; with `strict_official` they raise
    `InputError`.
    """
    is_ground = sky < SKY_BORDER
    has_ground = int(is_ground.sum()) > _FEWEST_PIXELS
    if not has_ground:
        if strict_official:
            raise InputError("The images show nothing but sky, so the official model finds no metric scale for them.")
        is_ground = torch.ones_like(is_ground)
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

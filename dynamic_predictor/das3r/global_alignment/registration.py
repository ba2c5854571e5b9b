"""Similarities between point sets, in closed form (Umeyama, TPAMI 1991), weighted and for many pairs at once."""

import numpy as np
import torch
from torch import Tensor

#: pixels that are gathered at once in double precision
_BLOCK = 1 << 15


def register_points(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For K pairs of point sets the scale (K,), rotation (K, 3, 3) and translation (K, 3), float64, with
    `target = scale * rotation @ source + translation` and the least weighted sum of squares.

    `source` (K, 3, P), `target` (K, 3, P) or (3, P) for all, `weights` (K, P) at least 0, any floating type. Sets
    without weight or extent get scale 1.
    """
    count, _, pixels = source.shape
    target = target.expand(count, 3, pixels)
    double = {"dtype": torch.float64, "device": source.device}
    total = torch.zeros(count, **double)
    source_sum, target_sum = torch.zeros(count, 3, **double), torch.zeros(count, 3, **double)
    blocks = [slice(begin, begin + _BLOCK) for begin in range(0, pixels, _BLOCK)]
    for block in blocks:
        w = weights[:, block].double()
        total += w.sum(dim=-1)
        source_sum += (source[:, :, block].double() @ w[..., None])[..., 0]
        target_sum += (target[:, :, block].double() @ w[..., None])[..., 0]
    safe = total.clamp(min=1e-300)[:, None]
    source_mean, target_mean = source_sum / safe, target_sum / safe
    covariance = torch.zeros(count, 3, 3, **double)
    variance = torch.zeros(count, **double)
    for block in blocks:
        w = weights[:, None, block].double()
        s = source[:, :, block].double() - source_mean[..., None]
        t = target[:, :, block].double() - target_mean[..., None]
        covariance += (t * w) @ s.transpose(1, 2)
        variance += (w * s * s).sum(dim=(1, 2))
    u, _, vt = torch.linalg.svd(covariance)
    flip = torch.ones(count, 3, **double)
    flip[:, 2] = torch.linalg.det(u @ vt).sign()
    rotation = (u * flip[:, None, :]) @ vt
    scale = (rotation * covariance).sum(dim=(1, 2)) / variance
    scale = torch.where(torch.isfinite(scale) & (scale > 0), scale, 1.0)
    translation = target_mean - scale[:, None] * (rotation @ source_mean[..., None])[..., 0]
    return scale, rotation, translation


def register_cameras(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3) and translation (3,) that take poses world_from_camera (N, 4, 4) to others, by their
    centres and by points a little in front of them, so that the way they look counts too."""
    points = [
        torch.from_numpy(_centers_and_fronts(np.asarray(poses, np.float64)).T)[None] for poses in (source, target)
    ]
    scale, rotation, translation = register_points(points[0], points[1], torch.ones(1, points[0].shape[-1]))
    return float(scale[0]), rotation[0].numpy(), translation[0].numpy()


def _centers_and_fronts(poses: np.ndarray) -> np.ndarray:
    centers = poses[:, :3, 3]
    first, second = np.triu_indices(len(centers), k=1)
    distance = float(np.median(np.linalg.norm(centers[first] - centers[second], axis=1))) if len(first) else 1.0
    return np.concatenate([centers, centers + (distance / 100.0 or 1.0) * poses[:, :3, 2]])

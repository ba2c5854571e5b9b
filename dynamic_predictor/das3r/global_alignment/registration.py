"""Weighted similarities between many pairs of point sets at once, in closed form.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 1991.
"""

import numpy as np
import torch
from torch import Tensor

from scene.similarity import Similarity

#: pixels that are converted to double precision at a time
_BLOCK = 1 << 15


def register_points(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scale (K,), rotation (K, 3, 3) and translation (K, 3), float64, of the similarities that move K point sets
    onto others: they minimize the weighted sum of squares of `scale * rotation @ source + translation - target`.

    `source` (K, 3, P), `target` (K, 3, P) or (3, P) for all, `weights` (K, P). Without weight or extent the scale is 1.
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


def register_cameras(source: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity that moves poses world_from_camera (N, 4, 4) onto others. It aligns camera centers and points a
    little in front of them, so that viewing directions count too."""
    points = [torch.from_numpy(_centers_and_fronts(poses).T)[None] for poses in (source, target)]
    scale, rotation, translation = register_points(points[0], points[1], torch.ones(1, points[0].shape[-1]))
    return Similarity(float(scale[0]), rotation[0].numpy(), translation[0].numpy())


def _centers_and_fronts(poses: np.ndarray) -> np.ndarray:
    """Camera centers and, a hundredth of their median distance in front of each, a second point, (2 N, 3)."""
    centers = poses[:, :3, 3]
    first, second = np.triu_indices(len(centers), k=1)
    distance = float(np.median(np.linalg.norm(centers[first] - centers[second], axis=1))) if len(first) else 1.0
    return np.concatenate([centers, centers + (distance / 100.0 or 1.0) * poses[:, :3, 2]])

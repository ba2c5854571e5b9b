"""The losses of DAS3R's training (Xu et al., 2024): confidence-weighted point regression as in DUSt3R (Wang et al.,
CVPR 2024, eq. 2 to 4), and the cross-entropy of motion masks with the same confidence.

All terms are sums with counts, so that the loss of a batch that is distributed over processes or accumulated over
forward passes is the mean over all its pixels, not a mean of means.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from dynamic_predictor.das3r.network import ViewPrediction
from dynamic_predictor.training.sums import Sum, sum_of


@dataclass(frozen=True)
class ViewTruth:
    """Ground truth of one image of each of B pairs.

    `points` (B, H, W, 3) in the world, `valid` (B, H, W) bool where they are known, `motion` (B, H, W) 1 = moves
    between the two images, NaN = unknown, `world_from_camera` (B, 4, 4).
    """

    points: Tensor
    valid: Tensor
    motion: Tensor
    world_from_camera: Tensor

    def known_motion(self) -> Tensor:
        """(B, H, W) bool: pixels whose motion and points are known."""
        return self.valid & ~self.motion.isnan()


def pair_losses(
    predictions: tuple[ViewPrediction, ViewPrediction], truths: tuple[ViewTruth, ViewTruth], alpha: float = 0.2
) -> dict[str, Sum]:
    """The terms of the training loss by name, for images k = 1 and 2.

    `weighted_points_k` is confidence times distance minus `alpha` log confidence, `weighted_motion_k` the same with the
    cross-entropy instead of the distance; the loss is the sum of the means of these. `points_k` and `motion_k` are the
    same without confidence, for the log. Networks without mask heads have no terms of motion.
    """
    # points of both images in the camera frame of image 1, divided by their mean distance from that camera
    predicted = _divided_by_mean_distance((predictions[0].points, predictions[1].points), truths)
    expected = _divided_by_mean_distance(_in_camera_1(truths), truths)
    terms: dict[str, Sum] = {}
    for number, (prediction, truth, points, true_points) in enumerate(
        zip(predictions, truths, predicted, expected, strict=True), start=1
    ):
        # as in the published training, pixels with unknown motion are excluded from all terms
        known = truth.known_motion()
        confidence = prediction.confidence[known]
        distance = (points - true_points)[known].norm(dim=-1)
        terms[f"points_{number}"] = sum_of(distance)
        terms[f"weighted_points_{number}"] = sum_of(_weighted(distance, confidence, alpha))
        if prediction.motion is not None:
            entropy = _cross_entropy(prediction.motion, truth)
            terms[f"motion_{number}"] = sum_of(entropy)
            terms[f"weighted_motion_{number}"] = sum_of(_weighted(entropy, confidence, alpha))
    return terms


def motion_losses(motions: tuple[Tensor, Tensor], truths: tuple[ViewTruth, ViewTruth]) -> dict[str, Sum]:
    """The terms `motion_k` of `pair_losses` for motion probabilities (B, H, W) of images 1 and 2."""
    both = zip(motions, truths, strict=True)
    return {f"motion_{number}": sum_of(_cross_entropy(*one)) for number, one in enumerate(both, start=1)}


def _cross_entropy(motion: Tensor, truth: ViewTruth) -> Tensor:
    known = truth.known_motion()
    return binary_cross_entropy(motion[known], truth.motion[known], reduction="none")


def validation_losses(
    predictions: tuple[ViewPrediction, ViewPrediction], truths: tuple[ViewTruth, ViewTruth]
) -> dict[str, Sum]:
    """The terms of the validation loss, the sum of their means: `points_k`, distances of points after alignment by a
    common shift in depth and a common scale, in the unit of the truth, and `motion_k`, cross-entropy."""
    expected = _centered_in_depth(_in_camera_1(truths), truths)
    predicted = _centered_in_depth((predictions[0].points, predictions[1].points), truths)
    scale = (_spread(expected, truths) / _spread(predicted, truths).clip(1e-3, 1e3))[:, None, None, None]
    terms: dict[str, Sum] = {}
    for number, (prediction, truth, points, true_points) in enumerate(
        zip(predictions, truths, predicted, expected, strict=True), start=1
    ):
        known = truth.known_motion()
        terms[f"points_{number}"] = sum_of((points * scale - true_points)[known].norm(dim=-1))
        if prediction.motion is not None:
            terms[f"motion_{number}"] = sum_of(_cross_entropy(prediction.motion, truth))
    return terms


def _in_camera_1(truths: tuple[ViewTruth, ViewTruth]) -> tuple[Tensor, Tensor]:
    """True points of both images in the camera frame of image 1."""
    camera1_from_world = torch.linalg.inv(truths[0].world_from_camera)
    rotation, translation = camera1_from_world[:, :3, :3], camera1_from_world[:, :3, 3]
    first, second = (
        torch.einsum("bij,bhwj->bhwi", rotation, truth.points) + translation[:, None, None] for truth in truths
    )
    return first, second


def _divided_by_mean_distance(points: tuple[Tensor, Tensor], truths) -> tuple[Tensor, Tensor]:
    valid = torch.stack([truth.valid for truth in truths])
    distances = torch.where(valid, torch.stack(points).norm(dim=-1), 0)
    unit = distances.sum(dim=(0, 2, 3)) / (valid.sum(dim=(0, 2, 3)) + 1e-8)
    unit = unit.clamp_min(1e-8)[:, None, None, None]
    return points[0] / unit, points[1] / unit


def _joint_median(values: tuple[Tensor, Tensor], truths) -> Tensor:
    """Medians (B, ...) over the valid pixels of both images' `values` (B, H, W, ...)."""
    flat = []
    for part, truth in zip(values, truths, strict=True):
        valid = truth.valid.reshape(*truth.valid.shape, *[1] * (part.dim() - 3))
        flat.append(torch.where(valid, part, torch.nan).flatten(1, 2))
    return torch.cat(flat, dim=1).nanmedian(dim=1).values


def _centered_in_depth(points: tuple[Tensor, Tensor], truths) -> tuple[Tensor, Tensor]:
    depth = _joint_median((points[0][..., 2], points[1][..., 2]), truths)
    shift = torch.stack([torch.zeros_like(depth), torch.zeros_like(depth), depth], dim=-1)[:, None, None]
    return points[0] - shift, points[1] - shift


def _spread(points: tuple[Tensor, Tensor], truths) -> Tensor:
    """Median distances (B,) of the valid points of both images from their median point."""
    center = _joint_median(points, truths)[:, None, None]
    return _joint_median(((points[0] - center).norm(dim=-1), (points[1] - center).norm(dim=-1)), truths)


def _weighted(loss: Tensor, confidence: Tensor, alpha: float) -> Tensor:
    return confidence * loss - alpha * confidence.log()

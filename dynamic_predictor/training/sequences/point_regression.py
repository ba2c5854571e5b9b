"""The losses of CUT3R's training (Wang et al., CVPR 2025, section 3.4): confidence-weighted regression of points in the
frame of each camera and of the first one (as in DUSt3R: Wang et al., CVPR 2024, eq. 2 to 4), regression of poses, and
the squared error of colors.

Terms are sums with counts, so that the loss of a batch that is distributed over processes or accumulated over forward
passes is that of the whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dynamic_predictor.networks.rigid_motions import inverse_rigid, xyzw_from_rotation
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sums import Sum

#: distance that pixels of the sky have instead of their own, so that their confidence becomes low
SKY_LOSS = 2.0
#: least unit of length, and least weight of a pixel in it
_LEAST_UNIT = 1e-3


@dataclass(frozen=True)
class SequencePredictions:
    """What a network predicts about B sequences of V views.

    `world_points` (B, V, H, W, 3) in the frame of the first camera of the sequence; `own_points` the same in the frame
    of their own camera; `world_confidence` and `own_confidence` (B, V, H, W) >= 1; `poses` (B, V, 7): translation and
    quaternion wxyz of first camera from camera; `colors` (B, V, H, W, 3) in [-1, 1]. Networks that have no
    `own_points` or `colors` have no such terms in the loss.
    """

    world_points: Tensor
    world_confidence: Tensor
    poses: Tensor
    own_points: Tensor | None = None
    own_confidence: Tensor | None = None
    colors: Tensor | None = None


@dataclass(frozen=True)
class SequenceTruth:
    """Ground truth of B sequences of V views.

    `points` (B, V, H, W, 3) in the world, `valid` and `sky` (B, V, H, W) bool, `world_from_camera` (B, V, 4, 4),
    `images` (B, V, 3, H, W) in [-1, 1], `has_image` (B, V) bool: views that the network is shown an image of.
    (B,) bool: `metric`: lengths are meters; `camera_only`: depth is made up, only cameras are true; `depth_only`:
    depth is true up to scale and shift; `single_view`: views show different places.
    """

    points: Tensor
    valid: Tensor
    sky: Tensor
    world_from_camera: Tensor
    images: Tensor
    has_image: Tensor
    metric: Tensor
    camera_only: Tensor
    depth_only: Tensor
    single_view: Tensor

    def views(self, begin: int, end: int) -> "SequenceTruth":
        """The truth of some of the views."""
        names = ("points", "valid", "sky", "world_from_camera", "images", "has_image")
        return SequenceTruth(**{**vars(self), **{name: vars(self)[name][:, begin:end] for name in names}})

    def posed(self, by_kind: bool) -> Tensor:
        """(B,) bool: sequences whose poses count."""
        return self.has_image[:, -1] if by_kind else torch.ones_like(self.metric)

    def counts(self, *, by_kind: bool = True) -> dict[str, Tensor]:
        """The counts of the terms of `regression_terms` by name."""
        mask = self.valid | self.sky
        return {
            "own_points": mask.sum(dim=(0, 2, 3)),
            "world_points": (mask & ~_per_pixel(self.camera_only)).sum(dim=(0, 2, 3)),
            "poses": self.posed(by_kind).sum(),
            "colors": torch.tensor(self.images.numel(), device=mask.device),
        }


def regression_terms(
    predicted: SequencePredictions,
    truth: SequenceTruth,
    *,
    alpha: float = 0.2,
    by_kind: bool = True,
    first_camera: Tensor | None = None,
) -> dict[str, Sum]:
    """The terms of the loss by name: `own_points`, `world_points` (sums per view, (V,)), `poses` and `colors`. The loss
    is the sum of the means; those of points are averaged over views.

    Points are divided by their mean distance from the origin (of own and world points together, weighted by the
    logarithm of the predicted confidence); predictions about metric scenes by that of the truth. `first_camera`
    (B, 4, 4), world from camera, is given if `truth` does not begin with the first view of the sequences.

    `by_kind` is the loss for sequences of all kinds, that of the second and third published stage and of fine-tuning:
    depth without scale is compared after normalization per view, non-metric single views after division by the mean
    distance per view, and poses count only for sequences whose last view has an image. Otherwise it is the loss of the
    first and fourth stage.
    """
    camera1_from_world = inverse_rigid(truth.world_from_camera[:, 0] if first_camera is None else first_camera)
    true_poses = camera1_from_world[:, None] @ truth.world_from_camera
    points = {"world": _moved(camera1_from_world[:, None], truth.points)}
    found, confidence = {"world": predicted.world_points}, {"world": predicted.world_confidence}
    if predicted.own_points is not None and predicted.own_confidence is not None:
        points["own"] = _moved(inverse_rigid(truth.world_from_camera), truth.points)
        found["own"], confidence["own"] = predicted.own_points, predicted.own_confidence
    weights = {name: value.detach().log().clip(_LEAST_UNIT) for name, value in confidence.items()}
    true_unit = _mean_distance(points, weights, truth.valid)
    unit = torch.where(truth.metric, true_unit, _mean_distance(found, weights, truth.valid))
    true_unit, unit = true_unit.clip(_LEAST_UNIT), unit.clip(_LEAST_UNIT)
    terms = {}
    for name in found:
        expected, values = points[name] / _per_point(true_unit), found[name] / _per_point(unit)
        if name == "own":
            # without depth, the directions of the points are those of the rays
            rays = _per_point(truth.camera_only)
            expected, values = (
                torch.where(rays, _on_plane(expected), expected),
                torch.where(rays, _on_plane(values), values),
            )
        mask = truth.valid | truth.sky
        distance = _distances(values, expected, mask, truth if by_kind else None)
        distance = torch.where(truth.sky & ~truth.valid, SKY_LOSS, distance)
        counted = mask & ~_per_pixel(truth.camera_only) if name == "world" else mask
        weighted = confidence[name] * distance - alpha * confidence[name].log()
        terms[f"{name}_points"] = Sum(
            torch.where(counted, weighted, 0).sum(dim=(0, 2, 3)), counted.sum(dim=(0, 2, 3))
        )  # fmt: skip
    terms["poses"] = _pose_term(predicted.poses, true_poses, unit, true_unit, truth, by_kind)
    if predicted.colors is not None:
        error = (predicted.colors - truth.images.permute(0, 1, 3, 4, 2)).square()
        terms["colors"] = Sum(error.sum(), torch.tensor(error.numel(), device=error.device))
    return terms


def summed_counts(counts: Sequence[dict[str, Tensor]], process: Process) -> dict[str, Tensor]:
    """The counts of several batches on all processes."""
    sums = {name: torch.stack([one[name] for one in counts]).sum(dim=0).double() for name in counts[0]}
    flat = process.summed(torch.cat([value.reshape(-1) for value in sums.values()]))
    parts = flat.split([value.numel() for value in sums.values()])
    return {name: part.view_as(sums[name]).float() for part, name in zip(parts, sums, strict=True)}


def encoded_poses(poses: Tensor) -> Tensor:
    """Translation and quaternion wxyz, w >= 0, (..., 7) of rigid matrices (..., 4, 4)."""
    return torch.cat([poses[..., :3, 3], xyzw_from_rotation(poses[..., :3, :3])[..., [3, 0, 1, 2]]], dim=-1)


def scale_errors(predicted: SequencePredictions, truth: SequenceTruth) -> dict[str, Sum]:
    """The terms of the published validation, sums per view (V,): distances of `own_points` and `world_points` in the
    unit of the truth, the same with `_scaled` after division by the median distance from the median point, and
    distances of `colors`; the validation loss is the sum of their means over all views."""
    camera1_from_world = inverse_rigid(truth.world_from_camera[:, 0])
    points = {"world": _moved(camera1_from_world[:, None], truth.points)}
    found = {"world": predicted.world_points}
    if predicted.own_points is not None:
        points["own"] = _moved(inverse_rigid(truth.world_from_camera), truth.points)
        found["own"] = predicted.own_points
    terms = {}
    for name in found:
        scale = _spread(points[name], truth.valid) / _spread(found[name], truth.valid).clip(1e-3, 1e3)
        for suffix, factor in (("", torch.ones_like(scale)), ("_scaled", scale)):
            error = (found[name] * _per_point(factor) - points[name]).norm(dim=-1)
            count = truth.valid.sum(dim=(0, 2, 3))
            terms[f"{name}_points{suffix}"] = Sum(torch.where(truth.valid, error, 0).sum(dim=(0, 2, 3)), count)
    if predicted.colors is not None:
        error = (predicted.colors - truth.images.permute(0, 1, 3, 4, 2)).norm(dim=-1)
        terms["colors"] = Sum(error.sum(), torch.tensor(error.numel(), device=error.device))
    return terms


def _per_pixel(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _per_point(values: Tensor) -> Tensor:
    return values[:, None, None, None, None]


def _moved(matrices: Tensor, points: Tensor) -> Tensor:
    """Points (B, V, H, W, 3) moved by rigid matrices (B, V or 1, 4, 4)."""
    rotation, translation = matrices[..., :3, :3], matrices[..., :3, 3]
    return (
        torch.einsum("bvij,bvhwj->bvhwi", rotation.expand(-1, points.shape[1], -1, -1), points)
        + (translation[:, :, None, None])
    )


def _mean_distance(points: dict[str, Tensor], weights: dict[str, Tensor], valid: Tensor) -> Tensor:
    """Weighted mean distances (B,) of valid points from the origin."""
    total, weight = 0.0, 1e-8
    for name, values in points.items():
        total = total + torch.where(valid, weights[name] * values.norm(dim=-1), 0).sum(dim=(1, 2, 3))
        weight = weight + torch.where(valid, weights[name], 0).sum(dim=(1, 2, 3))
    return torch.as_tensor(total / weight).clip(1e-8)


def _on_plane(points: Tensor) -> Tensor:
    """Points (..., 3) on the plane z = 1 of their rays, up to 2 from its center."""
    return (points / points[..., 2:].clip(1e-6)).clip(-2, 2)


def _distances(values: Tensor, expected: Tensor, mask: Tensor, truth: SequenceTruth | None) -> Tensor:
    """Distances (B, V, H, W), by the kinds of sequences in `truth` if it is given."""
    distance = (values - expected).norm(dim=-1)
    if truth is None:
        return distance
    single = truth.single_view & ~truth.metric & ~truth.depth_only
    if single.any():
        both = (part / _view_mean(part.norm(dim=-1), mask)[..., None].clip(1e-6) for part in (values, expected))
        found, wanted = both
        distance = torch.where(_per_pixel(single), (found - wanted).norm(dim=-1), distance)
    if truth.depth_only.any():
        found, wanted = (_normalized(part[..., 2], mask) for part in (values, expected))
        distance = torch.where(_per_pixel(truth.depth_only), (found - wanted).abs(), distance)
    return distance


def _view_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Means (B, V, 1, 1) of values (B, V, H, W) in the mask."""
    total = torch.where(mask, values, 0).sum(dim=(2, 3), keepdim=True)
    return total / mask.sum(dim=(2, 3), keepdim=True).clip(1)


def _normalized(values: Tensor, mask: Tensor) -> Tensor:
    centered = values - _view_mean(values, mask)
    return centered / _view_mean(centered.abs(), mask).clip(1e-6)


def _pose_term(
    poses: Tensor, true_poses: Tensor, unit: Tensor, true_unit: Tensor, truth: SequenceTruth, by_kind: bool
) -> Sum:
    """Mean distances of translations and quaternions over views, summed over the sequences that count. Those without
    extent, whose unit is the least one, add nothing."""
    expected = encoded_poses(true_poses)
    # without depth the unit of translations is their mean length
    lengths = expected[..., :3].norm(dim=-1).mean(dim=1).clip(1e-8)
    own_lengths = torch.where(truth.metric, lengths, poses[..., :3].norm(dim=-1).mean(dim=1).clip(1e-8))
    true_unit = torch.where(truth.camera_only, lengths, true_unit)
    unit = torch.where(truth.camera_only, own_lengths, unit)
    posed = truth.posed(by_kind)
    added = posed & (true_unit > _LEAST_UNIT) & (unit > _LEAST_UNIT)
    translation = poses[..., :3] / unit.clip(_LEAST_UNIT)[:, None, None]
    true_translation = expected[..., :3] / true_unit.clip(_LEAST_UNIT)[:, None, None]
    error = (translation - true_translation).norm(dim=-1) + (poses[..., 3:] - expected[..., 3:]).norm(dim=-1)
    return Sum(torch.where(added, error.mean(dim=1), 0).sum(), posed.sum())


def _spread(points: Tensor, valid: Tensor) -> Tensor:
    """Median distances (B,) of the valid points of a sequence from their median."""
    known = torch.where(valid[..., None], points, torch.nan).flatten(1, 3)
    center = known.nanmedian(dim=1, keepdim=True).values
    return (known - center).norm(dim=-1).nanmedian(dim=1).values

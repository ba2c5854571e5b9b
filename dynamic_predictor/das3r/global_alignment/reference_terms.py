"""Reference implementations of the pairwise term and the flow term, in the official code's order of operations and
differentiated by autograd, for comparison with the official code. They are tens of times slower than `pairwise_term`
and `flow_term` and need memory for a dozen arrays as large as all pointmaps.

The order of operations matters: the pairs of the spanning tree fit exactly at the start, so the directions of their
residuals are rounding errors, and Adam takes full steps along them: after one, 32 and 64 bits differ by two steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.ego_motion import ego_flow
from dynamic_predictor.das3r.global_alignment.flow_term import FlowObservations
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid, confidence_weights
from dynamic_predictor.das3r.global_alignment.parameters import AlignmentParameters
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings


def reference_pairwise_loss(
    predictions: PairPredictions, parameters: AlignmentParameters, pixels: PixelGrid, settings: AlignmentSettings
) -> Tensor:
    """`pairwise_term.pairwise_loss`, differentiable with respect to all tensors of `parameters`."""
    depth = parameters.log_depth.exp()[..., None]
    grid = pixels.homogeneous[:2].T - parameters.principal_points[:, None]
    focal = parameters.focal_lengths()[:, None] * torch.stack(
        [torch.ones_like(parameters.aspect), parameters.aspect], 1
    )
    in_camera = torch.cat([depth * grid / focal[:, None], depth], dim=-1)
    world = _transformed(parameters.world_from_camera()[:, :3], in_camera)
    world_from_pair = parameters.world_from_pair()
    edges = torch.from_numpy(predictions.edges).to(world.device)
    units = torch.from_numpy(predictions.units).to(world.device, torch.float32)[:, None, None]
    total = world.new_zeros(())
    for side in (0, 1):
        slots = torch.from_numpy(predictions.slots[:, side].copy()).to(world.device)
        points = (predictions.points[slots].float() * units).transpose(1, 2).contiguous()
        residual = world[edges[:, side]] - _transformed(world_from_pair, points)
        size = torch.linalg.vector_norm(residual, dim=-1)
        weights = confidence_weights(predictions.confidence[slots].float(), settings.confidence_transform)
        distance = size if settings.distance == "l1" else size.square()
        total = total + (distance * weights).sum() / weights.numel()
    return total


def reference_flow_loss(
    flows: Sequence[FlowObservations],
    parameters: AlignmentParameters,
    pixels: PixelGrid,
    pixel_limit: float,
    *,
    mean_of_each_pair: bool,
) -> Tensor:
    """The sum of `flow_term.flow_loss` over `flows`. With `mean_of_each_pair` the loss is averaged over the pixels of
    each pair first and then over pairs, as with the official option --not_batchify."""
    limit = pixel_limit if pixel_limit > 0 else torch.inf
    total = parameters.log_depth.new_zeros(())
    for group in flows:
        seen = parameters.target_from_source(group.sources, group.targets)
        observed = group.displacement.float()
        known = torch.isfinite(observed)
        flow = ego_flow(parameters.log_depth.exp()[group.sources], seen, pixels)
        error = torch.where(known, flow - observed, 0.0)
        value = torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        counts = known & (value < limit)
        kept = torch.where(counts, value, 0.0)
        if mean_of_each_pair:
            mean = (kept.sum(dim=(1, 2)) / counts.sum(dim=(1, 2)).clamp(min=1)).mean()
        else:
            mean = kept.sum() / counts.sum().clamp(min=1)
        total = total + group.factor * mean
    return total


def _transformed(matrix: Tensor, points: Tensor) -> Tensor:
    """Points (B, P, 3), transformed by matrices (B, 3, 4)."""
    transposed = matrix.transpose(1, 2)
    return points @ transposed[:, :3] + transposed[:, 3:]

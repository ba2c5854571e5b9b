"""The flow term of global alignment: on static pixels, optical flow should be what depths and camera motion make it
(Zhang et al., "MonST3R", ICLR 2025, section 3.3).

A pixel p of frame i at depth d is seen by frame j at the homogeneous pixel h = H p + b / d. The loss is smooth L1
between the flow that this gives and the observed one, averaged over both coordinates of all static pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.compiled import compiled_terms
from dynamic_predictor.das3r.global_alignment.ego_motion import consistent_flow
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid, block_length
from dynamic_predictor.das3r.global_alignment.reused_arrays import DepthScratch, add_to_gradient

#: `flow(source, target)`: displacement (H, W, 2) in pixels (x, y) from one frame to another, NaN where unknown
FlowFunction = Callable[[int, int], np.ndarray | Tensor]

#: keeps divisions by depths and by homogeneous coordinates finite, as the reference has it
GUARD = 1e-6


@dataclass(frozen=True)
class FlowObservations:
    """Optical flows between frames, sorted by the frame where they start, with one factor for their mean."""

    displacement: Tensor  #: (F, 2, H*W) pixels, NaN where it is unknown or does not count
    frame_start: np.ndarray  #: (N + 1,): flows from frame i are frame_start[i] to frame_start[i + 1]
    sources: Tensor  #: (F,) int64
    targets: Tensor  #: (F,) int64
    factor: float
    scratch: DepthScratch = field(default_factory=DepthScratch)

    @classmethod
    def of(
        cls,
        flow: FlowFunction,
        directions: Sequence[tuple[int, int]],
        frame_count: int,
        pixel_count: int,
        *,
        factor: float = 1.0,
        dtype: torch.dtype = torch.float16,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> "FlowObservations":
        """Asks `flow` for every direction (source, target)."""
        ordered = sorted(directions)
        displacement = torch.empty((len(ordered), 2, pixel_count), dtype=dtype, device=device)
        for slot, (source, target) in enumerate(ordered):
            field = torch.as_tensor(flow(source, target)).to(device, torch.float32).reshape(-1, 2).T
            displacement[slot] = torch.where(torch.isfinite(field).all(dim=0), field, torch.nan)
            progress(slot + 1, len(ordered))
        ends = np.array(ordered, np.int64).reshape(-1, 2)
        return cls(
            displacement=displacement,
            frame_start=np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=frame_count))]),
            sources=torch.from_numpy(ends[:, 0].copy()).to(device),
            targets=torch.from_numpy(ends[:, 1].copy()).to(device),
            factor=factor,
        )

    def forget(self, slot: int, pixels: Tensor) -> None:
        """Pixels (H*W,) bool of one flow do not count from now on."""
        self.displacement[slot].masked_fill_(pixels, torch.nan)

    def forget_moving(self, moving: Tensor) -> None:
        """Neither do those that move, (N, H*W) bool."""
        for slot, source in enumerate(self.sources.tolist()):
            self.forget(slot, moving[source])


def observe_flows(
    flow: FlowFunction, edges: np.ndarray, frame_count: int, pixel_count: int, **options: Any
) -> list[FlowObservations]:
    """The flows of all pairs there and back, as the flow term wants them: where every pair has its reverse among
    `edges` (E, 2), both directions are the same flows and are kept once with twice the weight."""
    forward = [(int(i), int(j)) for i, j in edges if i != j]
    unique = list(dict.fromkeys(forward))
    if set(unique) == {(j, i) for i, j in unique} and len(unique) == len(forward):
        return [FlowObservations.of(flow, unique, frame_count, pixel_count, factor=2.0, **options)]
    backward = [(j, i) for i, j in forward]
    return [FlowObservations.of(flow, way, frame_count, pixel_count, **options) for way in (forward, backward)]


def flow_by_direction(groups: Sequence[FlowObservations]) -> dict[tuple[int, int], tuple[FlowObservations, int]]:
    """Where the flow of every direction (source, target) is kept: its group and slot."""
    return {
        (source, target): (group, slot)
        for group in groups
        for slot, (source, target) in enumerate(zip(group.sources.tolist(), group.targets.tolist(), strict=True))
    }


def forget_inconsistent(groups: Sequence[FlowObservations], height: int, width: int) -> None:
    """Flows do not count where going there and back does not lead to the start: what one of both frames does not see
    has no flow between them."""
    kept = flow_by_direction(groups)
    for (source, target), (group, slot) in kept.items():
        if source > target or (target, source) not in kept:
            continue
        other, other_slot = kept[target, source]
        there = group.displacement[slot].float().reshape(1, 2, height, width)
        back = other.displacement[other_slot].float().reshape(1, 2, height, width)
        wrong = [~consistent_flow(*both).reshape(-1) for both in ((there, back), (back, there))]
        group.forget(slot, wrong[0])
        other.forget(other_slot, wrong[1])


def flow_loss(
    observations: FlowObservations,
    pixels: PixelGrid,
    target_from_source: Tensor,
    log_depth: Tensor,
    pixel_limit: float,
) -> Tensor:
    """Factor times the mean smooth L1 loss (bend at 1 pixel), differentiable by `target_from_source` (F, 3, 4), the
    matrices [H, b] that take a homogeneous pixel and the inverse depth to a homogeneous pixel of the other frame, and
    by `log_depth` (N, H*W), both float32. Coordinates with a loss of `pixel_limit` or more do not count; 0: all do."""
    return _FlowLoss.apply(observations, pixels, target_from_source, log_depth, pixel_limit)  # pyright: ignore[reportReturnType]


class _FlowLoss(torch.autograd.Function):
    """The gradient of the depths is added to `log_depth.grad` directly; autograd sees to the others."""

    @staticmethod
    def forward(ctx: Any, observations, pixels, target_from_source, log_depth, pixel_limit):
        evaluate = _evaluate_compiled if compiled_terms(observations.displacement) else _evaluate_with_torch
        limit = pixel_limit if pixel_limit > 0 else torch.inf
        loss, count, matrix_gradient, ctx.depth_gradient = evaluate(
            observations, pixels, target_from_source, log_depth, limit
        )
        factor = observations.factor / max(float(count), 1.0)
        ctx.log_depth, ctx.factor = log_depth, factor
        ctx.save_for_backward(matrix_gradient.mul_(factor).float())
        return log_depth.new_tensor(float(loss) * factor)

    @staticmethod
    def backward(ctx: Any, *upstream):
        if ctx.needs_input_grad[3]:
            add_to_gradient(ctx.log_depth, ctx.depth_gradient, ctx.factor * float(upstream[0]))
        return None, None, ctx.saved_tensors[0] * upstream[0], None, None


def _evaluate_compiled(
    observations: FlowObservations, pixels: PixelGrid, target_from_source: Tensor, log_depth: Tensor, limit: float
) -> tuple[float, float, Tensor, Tensor]:
    terms = compiled_terms(observations.displacement)
    assert terms is not None
    return terms.flow(
        observations.displacement,
        torch.from_numpy(observations.frame_start),
        target_from_source.contiguous(),
        observations.scratch.depth(log_depth),
        width=pixels.width,
        pixel_offset=pixels.offset,
        limit=limit,
        guard=GUARD,
        log_depth_gradient=observations.scratch.gradient(log_depth),
    )


def _evaluate_with_torch(
    observations: FlowObservations, pixels: PixelGrid, target_from_source: Tensor, log_depth: Tensor, limit: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum of losses, how many coordinates it has, its gradients."""
    loss = torch.zeros((), dtype=torch.float64, device=log_depth.device)
    count = torch.zeros((), dtype=torch.int64, device=log_depth.device)
    matrix_gradient = torch.zeros_like(target_from_source, dtype=torch.float64)
    depth_gradient = torch.zeros_like(log_depth)
    pixel_count = log_depth.shape[1]
    for frame, (begin, end) in enumerate(zip(observations.frame_start[:-1], observations.frame_start[1:], strict=True)):
        if begin == end:
            continue
        infinity, parallax = target_from_source[begin:end, :, :3], target_from_source[begin:end, :, 3:]
        length = block_length(end - begin, log_depth.device)
        for first in range(0, pixel_count, length):
            block = slice(first, first + length)
            observed = observations.displacement[begin:end, :, block].float()
            pixel = pixels.homogeneous[:, block]
            depth = log_depth[frame, block].exp()
            inverse_depth = 1.0 / (depth + GUARD)
            seen = infinity @ pixel + parallax * inverse_depth
            scale = 1.0 / (seen[:, 2:] + GUARD)
            error = seen[:, :2] * scale - pixel[:2] - observed
            slope = error.clamp(-1.0, 1.0)
            value = slope * (error - 0.5 * slope)
            counts = value < limit  # false for NaN
            loss += torch.where(counts, value, 0.0).sum(dtype=torch.float64)
            count += counts.sum()
            slope = torch.where(counts, slope, 0.0) * scale
            along_z = (slope * seen[:, :2]).sum(dim=1, keepdim=True).nan_to_num_(0.0, 0.0, 0.0) * -scale
            gradient = torch.cat([slope, along_z], dim=1).nan_to_num_(0.0, 0.0, 0.0)
            by_inverse_depth = (gradient * parallax).sum(dim=(0, 1))
            depth_gradient[frame, block] = by_inverse_depth * (-depth * inverse_depth * inverse_depth)
            matrix_gradient[begin:end, :, :3] += gradient @ pixel.T
            matrix_gradient[begin:end, :, 3] += (gradient * inverse_depth).sum(dim=-1)
    return loss, count, matrix_gradient, depth_gradient

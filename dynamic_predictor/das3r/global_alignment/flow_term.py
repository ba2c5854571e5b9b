"""The flow term of global alignment: on static pixels, the observed optical flow should equal the ego flow that depths
and camera motion imply (Zhang et al., "MonST3R", ICLR 2025, section 3.3).

Pixel p of frame i at depth d projects to the homogeneous pixel h = H p + b / d of frame j. The loss is the smooth L1
distance between ego flow and observed flow, averaged over both coordinates of all static pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.compiled import compiled_terms
from dynamic_predictor.das3r.global_alignment.ego_motion import GUARD, consistent_flow
from dynamic_predictor.das3r.global_alignment.pairwise_term import (
    DepthBuffers,
    PixelGrid,
    add_to_gradient,
    block_length,
)

#: `flow(source, target)` returns the displacement (H, W, 2) in pixels (x, y) between two frames, NaN where unknown
FlowFunction = Callable[[int, int], np.ndarray | Tensor]


@dataclass(frozen=True)
class FlowObservations:
    """Optical flows between frames, sorted by source frame, and the factor of their mean loss."""

    displacement: Tensor  #: (F, 2, H*W) pixels, NaN where it is unknown or excluded from the loss
    frame_start: np.ndarray  #: (N + 1,): flows from frame i are in slots frame_start[i] to frame_start[i + 1]
    sources: Tensor  #: (F,) int64
    targets: Tensor  #: (F,) int64
    factor: float
    buffers: DepthBuffers = field(default_factory=DepthBuffers)

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
        """Computes `flow` for every direction (source, target)."""
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

    def exclude(self, slot: int, pixels: Tensor) -> None:
        """Excludes `pixels` (H*W,) bool of one flow from the loss."""
        self.displacement[slot].masked_fill_(pixels, torch.nan)

    def exclude_moving(self, moving: Tensor) -> None:
        """Excludes the moving pixels (N, H*W) bool of all source frames."""
        for slot, source in enumerate(self.sources.tolist()):
            self.exclude(slot, moving[source])


def observe_flows(
    flow: FlowFunction, edges: np.ndarray, frame_count: int, pixel_count: int, **options: Any
) -> list[FlowObservations]:
    """Forward and backward flows of all pairs `edges` (E, 2); `options` go to `FlowObservations.of`.

    If every pair has its reverse among `edges`, one set with factor 2 is kept instead of two equal ones."""
    forward = [(int(i), int(j)) for i, j in edges if i != j]
    unique = list(dict.fromkeys(forward))
    if set(unique) == {(j, i) for i, j in unique} and len(unique) == len(forward):
        return [FlowObservations.of(flow, unique, frame_count, pixel_count, factor=2.0, **options)]
    backward = [(j, i) for i, j in forward]
    return [
        FlowObservations.of(flow, directions, frame_count, pixel_count, **options) for directions in (forward, backward)
    ]


def flow_by_direction(groups: Sequence[FlowObservations]) -> dict[tuple[int, int], tuple[FlowObservations, int]]:
    """The group and slot in which the flow of each direction (source, target) is stored."""
    return {
        (source, target): (group, slot)
        for group in groups
        for slot, (source, target) in enumerate(zip(group.sources.tolist(), group.targets.tolist(), strict=True))
    }


def exclude_inconsistent(groups: Sequence[FlowObservations], height: int, width: int) -> None:
    """Excludes pixels that fail the forward-backward check, in flows whose reverse is known."""
    slots = flow_by_direction(groups)
    for (source, target), (group, slot) in slots.items():
        if source > target or (target, source) not in slots:
            continue
        other, other_slot = slots[target, source]
        forward = group.displacement[slot].float().reshape(1, 2, height, width)
        backward = other.displacement[other_slot].float().reshape(1, 2, height, width)
        consistent = consistent_flow(forward, backward), consistent_flow(backward, forward)
        group.exclude(slot, ~consistent[0].reshape(-1))
        other.exclude(other_slot, ~consistent[1].reshape(-1))


def flow_loss(
    observations: FlowObservations,
    pixels: PixelGrid,
    target_from_source: Tensor,
    log_depth: Tensor,
    pixel_limit: float,
) -> Tensor:
    """The mean smooth L1 loss (quadratic up to 1 pixel) times the factor of `observations`.

    Differentiable with respect to `target_from_source` (F, 3, 4), the matrices [H, b] that map a homogeneous source
    pixel and the inverse depth to a homogeneous target pixel, and to `log_depth` (N, H*W), both float32. Coordinates
    whose loss reaches `pixel_limit` are ignored; 0: no limit."""
    return _FlowLoss.apply(observations, pixels, target_from_source, log_depth, pixel_limit)  # pyright: ignore[reportReturnType]


class _FlowLoss(torch.autograd.Function):
    """Adds the gradient of the depths to `log_depth.grad` directly and returns that of the matrices to autograd."""

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
        observations.buffers.depth(log_depth),
        width=pixels.width,
        pixel_offset=pixels.offset,
        limit=limit,
        guard=GUARD,
        log_depth_gradient=observations.buffers.gradient(log_depth),
    )


def _evaluate_with_torch(
    observations: FlowObservations, pixels: PixelGrid, target_from_source: Tensor, log_depth: Tensor, limit: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum of losses, the number of coordinates in it, and its gradients with respect to matrices and log depths."""
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
            derivative = error.clamp(-1.0, 1.0)
            value = derivative * (error - 0.5 * derivative)
            counts = value < limit  # false for NaN
            loss += torch.where(counts, value, 0.0).sum(dtype=torch.float64)
            count += counts.sum()
            by_xy = torch.where(counts, derivative, 0.0) * scale
            by_z = (by_xy * seen[:, :2]).sum(dim=1, keepdim=True).nan_to_num_(0.0, 0.0, 0.0) * -scale
            gradient = torch.cat([by_xy, by_z], dim=1).nan_to_num_(0.0, 0.0, 0.0)
            by_inverse_depth = (gradient * parallax).sum(dim=(0, 1))
            depth_gradient[frame, block] = by_inverse_depth * (-depth * inverse_depth * inverse_depth)
            matrix_gradient[begin:end, :, :3] += gradient @ pixel.T
            matrix_gradient[begin:end, :, 3] += (gradient * inverse_depth).sum(dim=-1)
    return loss, count, matrix_gradient, depth_gradient

"""The pairwise term of global alignment: the pointmaps x of each pair, moved by the pair's similarity P, should equal
the world points X that follow from depths and cameras (Wang et al., "DUSt3R", CVPR 2024, section 3.4).

    sum over views v of pair e, pixels p:  weight_v(p) |X_frame(v)(p) - P_e x_v(p)|  /  (pairs * pixels)

There are gigabytes of pointmaps, but only millions of unknown depths, tens of cameras and hundreds of pair
similarities. Value and gradients are therefore computed in one pass over the pointmaps, frame by frame in blocks of
pixels, without temporary arrays as large as the pointmaps. The compiled kernels of `submodules/pointmap-alignment` do
this on CPUs; torch does it on GPUs and where the kernels are not installed.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.compiled import compiled_terms
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import ConfidenceTransform, Distance


@dataclass(frozen=True)
class PixelGrid:
    """The coordinates of a frame's pixels: pixel (u, v) lies at (u, v) + `offset`."""

    width: int
    offset: float
    homogeneous: Tensor  #: (3, H*W) float32, last row 1

    @classmethod
    def of(cls, height: int, width: int, offset: float, device: torch.device | str = "cpu") -> "PixelGrid":
        u = (torch.arange(width, device=device, dtype=torch.float32) + offset).expand(height, width)
        v = (torch.arange(height, device=device, dtype=torch.float32) + offset)[:, None].expand(height, width)
        return cls(width, offset, torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1))


def block_length(views: int, device: torch.device) -> int:
    """The number of pixels that torch processes at a time: on a CPU a few arrays of `views` x 3 x block fit into the
    second-level cache; on a GPU blocks are large enough to occupy it."""
    return max(512, (1 << 16) // max(views, 1)) if device.type == "cpu" else (1 << 24) // max(views, 1)


def confidence_weights(confidence: Tensor, transform: ConfidenceTransform) -> Tensor:
    """The weights of residuals, >= 0 and of the type of `confidence`; 0 where the confidence is 0."""
    weights = torch.empty_like(confidence)
    for weight, values in zip(weights, confidence, strict=True):
        c = values.float()
        w = {"log": torch.log, "sqrt": torch.sqrt, "m1": lambda x: x - 1.0, "id": lambda x: x}[transform](c)
        weight.copy_(torch.where(c > 0, w.clamp(min=0.0), 0.0))
    return weights


class DepthBuffers:
    """Buffers (N, H*W) float32 of one loss term for the depths and for their gradient. They are reused in every
    iteration, because allocating tens of megabytes takes longer than filling them."""

    def __init__(self) -> None:
        self._depth: Tensor | None = None
        self._gradient: Tensor | None = None

    def depth(self, log_depth: Tensor) -> Tensor:
        """exp(`log_depth`); the next call overwrites it."""
        if self._depth is None or self._depth.shape != log_depth.shape:
            self._depth = torch.empty_like(log_depth, requires_grad=False)
        return torch.exp(log_depth.detach(), out=self._depth)

    def gradient(self, log_depth: Tensor) -> Tensor:
        """An uninitialized buffer for the gradient of `log_depth`."""
        if self._gradient is None or self._gradient.shape != log_depth.shape:
            self._gradient = torch.empty_like(log_depth, requires_grad=False)
        return self._gradient


def add_to_gradient(parameter: Tensor, gradient: Tensor, factor: float) -> None:
    """`parameter.grad` += `factor` * `gradient` in place, without the copies that autograd makes."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    parameter.grad.add_(gradient, alpha=factor)


@dataclass(frozen=True)
class PairwiseObservations:
    """Pointmaps and weights of all views, sorted by frame (see `PairPredictions`)."""

    points: Tensor  #: (V, 3, H*W)
    weights: Tensor  #: (V, H*W)
    frame_start: np.ndarray  #: (N + 1,)
    pair_of_slot: Tensor  #: (V,) int64
    units: Tensor  #: (E,) float32: factor from stored points to the network's unit
    pixels: PixelGrid
    distance: Distance
    buffers: DepthBuffers = field(default_factory=DepthBuffers)

    @classmethod
    def of(
        cls, predictions: PairPredictions, transform: ConfidenceTransform, distance: Distance, pixel_offset: float
    ) -> "PairwiseObservations":
        device = predictions.device
        return cls(
            points=predictions.points,
            weights=confidence_weights(predictions.confidence, transform),
            frame_start=predictions.frame_start,
            pair_of_slot=torch.from_numpy(predictions.pair_of_slot).to(device),
            units=torch.from_numpy(predictions.units).to(device, torch.float32),
            pixels=PixelGrid.of(predictions.height, predictions.width, pixel_offset, device),
            distance=distance,
        )


def pairwise_loss(
    observations: PairwiseObservations, world_from_pixel: Tensor, log_depth: Tensor, world_from_pair: Tensor
) -> Tensor:
    """The pairwise term, differentiable with respect to its three float32 tensors.

    `world_from_pixel` (N, 3, 4) maps (depth times homogeneous pixel, 1) to a world point; `log_depth` (N, H*W);
    `world_from_pair` (E, 3, 4) is the similarity of every pair."""
    in_units = torch.cat([world_from_pair[..., :3] * observations.units[:, None, None], world_from_pair[..., 3:]], -1)
    return _PairwiseLoss.apply(observations, world_from_pixel, log_depth, in_units)  # pyright: ignore[reportReturnType]


class _PairwiseLoss(torch.autograd.Function):
    """Adds the gradient of the depths to `log_depth.grad` directly and returns the others to autograd."""

    @staticmethod
    def forward(ctx: Any, observations, world_from_pixel, log_depth, world_from_pair):
        evaluate = _evaluate_compiled if compiled_terms(observations.points) else _evaluate_with_torch
        loss, camera_gradient, ctx.depth_gradient, pair_gradient = evaluate(
            observations, world_from_pixel, log_depth, world_from_pair
        )
        factor = 1.0 / (len(world_from_pair) * log_depth.shape[1])
        ctx.log_depth, ctx.factor = log_depth, factor
        ctx.save_for_backward(camera_gradient.mul_(factor).float(), pair_gradient.mul_(factor).float())
        return log_depth.new_tensor(float(loss) * factor)

    @staticmethod
    def backward(ctx: Any, *upstream):
        camera_gradient, pair_gradient = ctx.saved_tensors
        if ctx.needs_input_grad[2]:
            add_to_gradient(ctx.log_depth, ctx.depth_gradient, ctx.factor * float(upstream[0]))
        return None, camera_gradient * upstream[0], None, pair_gradient * upstream[0]


def _evaluate_compiled(
    observations: PairwiseObservations, world_from_pixel: Tensor, log_depth: Tensor, world_from_pair: Tensor
) -> tuple[float, Tensor, Tensor, Tensor]:
    """The sum and its gradients with respect to cameras, log depths and pairs."""
    terms = compiled_terms(observations.points)
    assert terms is not None
    pairs = observations.pair_of_slot
    loss, camera_gradient, depth_gradient, view_gradient = terms.pairwise(
        observations.points,
        observations.weights,
        torch.from_numpy(observations.frame_start),
        world_from_pixel.contiguous(),
        observations.buffers.depth(log_depth),
        world_from_pair[pairs].contiguous(),
        width=observations.pixels.width,
        pixel_offset=observations.pixels.offset,
        squared=observations.distance == "l2",
        log_depth_gradient=observations.buffers.gradient(log_depth),
    )
    pair_gradient = torch.zeros_like(world_from_pair, dtype=torch.float64).index_add_(0, pairs, view_gradient)
    return loss, camera_gradient, depth_gradient, pair_gradient


def _evaluate_with_torch(
    observations: PairwiseObservations, world_from_pixel: Tensor, log_depth: Tensor, world_from_pair: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pixel_count = log_depth.shape[1]
    loss = torch.zeros((), dtype=torch.float64, device=log_depth.device)
    camera_gradient = torch.zeros_like(world_from_pixel, dtype=torch.float64)
    pair_gradient = torch.zeros_like(world_from_pair, dtype=torch.float64)
    depth_gradient = torch.zeros_like(log_depth)
    for frame, (begin, end) in enumerate(zip(observations.frame_start[:-1], observations.frame_start[1:], strict=True)):
        pairs = observations.pair_of_slot[begin:end]
        matrix, translation = world_from_pair[pairs, :, :3], world_from_pair[pairs, :, 3:]
        rays_from_pixel, center = world_from_pixel[frame, :, :3], world_from_pixel[frame, :, 3:]
        matrix_sum = torch.zeros_like(matrix, dtype=torch.float64)
        translation_sum = torch.zeros_like(translation[..., 0], dtype=torch.float64)
        length = block_length(len(pairs), log_depth.device)
        for first in range(0, pixel_count, length):
            block = slice(first, first + length)
            points = observations.points[begin:end, :, block].float()
            weights = observations.weights[begin:end, block].float()
            pixels = observations.pixels.homogeneous[:, block]
            from_camera = (rays_from_pixel @ pixels) * log_depth[frame, block].exp()
            residual = torch.baddbmm((from_camera + center) - translation, matrix, points, alpha=-1.0)
            square = torch.linalg.vecdot(residual, residual, dim=1)
            if observations.distance == "l1":
                size = square.sqrt_()
                loss += torch.dot(size.flatten(), weights.flatten())
                factor = weights / size.clamp_(min=1e-20)
            else:
                loss += torch.dot(square.flatten(), weights.flatten())
                factor = weights * 2.0
            residual *= factor[:, None]  # now the gradient with respect to the world points
            point_gradient = residual.sum(dim=0)
            depth_gradient[frame, block] = (point_gradient * from_camera).sum(dim=0)
            # the matrix multiplies depth times homogeneous pixel
            camera_gradient[frame, :, :3] += (point_gradient * log_depth[frame, block].exp()) @ pixels.T
            camera_gradient[frame, :, 3] += point_gradient.sum(dim=-1)
            matrix_sum -= torch.bmm(residual, points.transpose(1, 2))
            translation_sum -= residual.sum(dim=-1)
        pair_gradient.index_add_(0, pairs, torch.cat([matrix_sum, translation_sum[..., None]], dim=-1))
    return loss, camera_gradient, depth_gradient, pair_gradient

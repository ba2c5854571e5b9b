"""Arrays of the size of all depth maps that are allocated once and reused in every iteration, because allocating tens
of megabytes takes longer than filling them."""

import torch
from torch import Tensor


class DepthBuffers:
    """Buffers (N, H*W) float32 of one loss term for the depths and for their gradient."""

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

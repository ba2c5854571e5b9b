"""Arrays of the size of all depth maps that are used again in every iteration: to get tens of megabytes anew from the
operating system takes longer than to fill them."""

import torch
from torch import Tensor


class DepthScratch:
    """Depths and a gradient, both (N, H*W) float32, for one term of the loss."""

    def __init__(self) -> None:
        self._depth: Tensor | None = None
        self._gradient: Tensor | None = None

    def depth(self, log_depth: Tensor) -> Tensor:
        """The exponential; holds until the next call."""
        if self._depth is None or self._depth.shape != log_depth.shape:
            self._depth = torch.empty_like(log_depth, requires_grad=False)
        return torch.exp(log_depth.detach(), out=self._depth)

    def gradient(self, log_depth: Tensor) -> Tensor:
        """Room for a gradient, with anything in it."""
        if self._gradient is None or self._gradient.shape != log_depth.shape:
            self._gradient = torch.empty_like(log_depth, requires_grad=False)
        return self._gradient


def add_to_gradient(parameter: Tensor, gradient: Tensor, factor: float) -> None:
    """`parameter.grad` += `factor` * `gradient`, in place; autograd would copy both."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    parameter.grad.add_(gradient, alpha=factor)

"""Adam that updates visible Gaussians only, with the interface of the original's `SparseGaussianAdam`."""

import torch

from diff_gaussian_rasterization.training import AdamGroup, adam_step

#: a step number at which Adam's bias corrections are 1
_NO_CORRECTION = 1 << 30


class SparseGaussianAdam(torch.optim.Adam):
    """`SparseGaussianAdam(groups, lr=0.0, eps=1e-15)`, then `step(radii > 0, len(radii))`.

    Gaussians that are not visible keep their parameters and moments (Taming 3DGS, Mallick et al. 2024). As in the
    original, there is no bias correction, and each parameter group contains one tensor.
    """

    def __init__(self, params, lr: float, eps: float) -> None:
        super().__init__(params=params, lr=lr, eps=eps)

    @torch.no_grad()
    def step(self, visibility: torch.Tensor, N: int) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step for the Gaussians where `visibility` (N,) bool is true. `N`: the number of Gaussians."""
        for group in self.param_groups:
            (parameter,) = group["params"]
            if parameter.grad is None or parameter.numel() == 0:
                continue
            state = self.state[parameter]
            if len(state) == 0:
                state["step"] = torch.tensor(0.0, dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            moments = state["exp_avg"], state["exp_avg_sq"]
            adam_update(
                parameter, parameter.grad, *moments, visibility, group["lr"], 0.9, 0.999, group["eps"], N,
                parameter.numel() // N,
            )  # fmt: skip


def adam_update(
    param: torch.Tensor,
    grad: torch.Tensor,
    exp_avg: torch.Tensor,
    exp_avg_sq: torch.Tensor,
    visibility: torch.Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    N: int,
    M: int,
) -> None:
    """Updates `param` (N Gaussians with M numbers each) and its moments in place where `visibility` (N,) bool is true.

    Raises ValueError if `param` does not have N * M elements.
    """
    if param.numel() != N * M:
        raise ValueError(f"the parameter must have {N} times {M} numbers, not {param.numel()}")
    if param.is_contiguous():
        tensors = [tensor.detach().reshape(-1) for tensor in (param, grad, exp_avg, exp_avg_sq)]
        visible = visibility[:, None].expand(N, M).reshape(-1)
    else:  # contiguous over Gaussians, the layout that the kernels need
        tensors, visible = [tensor.detach() for tensor in (param, grad, exp_avg, exp_avg_sq)], visibility
    group = AdamGroup(*tensors, learning_rate=float(lr))
    adam_step([group], _NO_CORRECTION, beta1=beta1, beta2=beta2, epsilon=eps, visible=visible)

"""SparseGaussianAdam against its formula."""

import torch
from diff_gaussian_rasterization import SparseGaussianAdam


def test_sparse_adam_follows_its_formula():
    random = torch.Generator().manual_seed(0)
    start = torch.randn(20, 5, 3, generator=random)
    parameters = [start.clone().requires_grad_(), start.movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_()]
    visible = torch.rand(20, generator=random) > 0.4
    value, first, second = start.double(), torch.zeros(20, 5, 3).double(), torch.zeros(20, 5, 3).double()
    optimizers = [SparseGaussianAdam([{"params": [p], "lr": 0.02}], lr=0.0, eps=1e-8) for p in parameters]
    for _ in range(4):
        gradient = torch.randn(20, 5, 3, generator=random)
        first[visible] = 0.9 * first[visible] + 0.1 * gradient[visible]
        second[visible] = 0.999 * second[visible] + 0.001 * gradient[visible] ** 2
        value[visible] -= 0.02 * first[visible] / (second[visible].sqrt() + 1e-8)
        for parameter, optimizer in zip(parameters, optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step(visible, 20)
    for parameter in parameters:
        torch.testing.assert_close(parameter.double(), value, rtol=1e-4, atol=5e-6)
        assert torch.equal(parameter[~visible], start[~visible])

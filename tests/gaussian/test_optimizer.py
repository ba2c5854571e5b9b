"""A step inside the backward pass against the long way: gradients by autograd, then Adam."""

import numpy as np
import pytest
import torch

from gaussian import gradient_renderer
from gaussian.optimizer import GaussianOptimizer
from scene.camera import Camera
from scene.gaussians import Gaussians


def some_gaussians(count: int = 400) -> Gaussians:
    random = torch.Generator().manual_seed(2)
    means = torch.randn(count, 3, generator=random) + torch.tensor([0.0, 0.0, 4.0])
    means[:40, 2] = -3.0  # behind the camera: nothing but the pulls and the moments move them
    return Gaussians(
        means,
        torch.randn(count, 3, generator=random) * 0.3 - 2.0,
        torch.randn(count, 4, generator=random),
        torch.randn(count, generator=random),
        torch.randn(count, 4, 3, generator=random) * 0.2,
    )


@pytest.mark.parametrize("pulls", [(0.0, 0.0), (2e-3, 3e-3)])
def test_descend_equals_gradients_and_adam(pulls: tuple[float, float]) -> None:
    camera = Camera(60, 40, 50.0, 50.0, 30.0, 20.0, np.eye(4))
    random = torch.Generator().manual_seed(3)
    fused, plain = GaussianOptimizer(some_gaussians()), GaussianOptimizer(some_gaussians())
    rates = {"means": 1e-3, "log_scales": 5e-3, "rotations": 1e-3, "logit_opacities": 5e-2, "sh_coefficients": 5e-3}
    background = torch.tensor([0.2, 0.4, 0.6])
    for step in range(4):
        degree = min(1, step)
        slopes = [torch.randn(shape, generator=random) for shape in ((3, 40, 60), (40, 60), (40, 60))]
        fused.render(camera, degree, background)
        moved = fused.descend(*slopes, rates, opacity_pull=pulls[0], scale_pull=pulls[1])

        gradients = gradient_renderer.backward(
            gradient_renderer.forward(plain.gaussians, camera, degree, background), *slopes
        )
        opacities = plain.gaussians.opacities
        gradients.gaussians["logit_opacities"] += pulls[0] * opacities * (1 - opacities)
        gradients.gaussians["log_scales"] += pulls[1] * plain.gaussians.scales
        plain.step(gradients.gaussians, rates)
        if step == 0:
            expected = gradients.camera.camera_from_world
            assert np.abs(moved.camera_from_world - expected).max() <= 1e-5 * np.abs(expected).max()
    assert fused.steps == plain.steps == 4
    for name, tensor in plain.gaussians.tensors().items():
        difference = (getattr(fused.gaussians, name) - tensor).abs().max().item()
        assert difference <= 2e-2 * rates[name], name
    behind = (plain.gaussians.log_scales - some_gaussians().log_scales)[:40].abs().max()
    assert (behind > 0) == (pulls[1] > 0)

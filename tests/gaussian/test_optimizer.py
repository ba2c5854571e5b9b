"""Adam steps inside the backward pass against autograd followed by Adam, and edits of the Gaussians."""

import numpy as np
import pytest
import torch
from diff_gaussian_rasterization import AdamGroup, adam_step

from gaussian import gradient_renderer
from gaussian.optimizer import Edit, GaussianOptimizer
from gaussian.poses import CameraRefinement
from scene.camera import Camera
from scene.gaussians import Gaussians


def some_gaussians(count: int = 400) -> Gaussians:
    random = torch.Generator().manual_seed(2)
    means = torch.randn(count, 3, generator=random) + torch.tensor([0.0, 0.0, 4.0])
    means[:40, 2] = -3.0  # behind the camera: moved by regularization and moments only
    return Gaussians(
        means,
        torch.randn(count, 3, generator=random) * 0.3 - 2.0,
        torch.randn(count, 4, generator=random),
        torch.randn(count, generator=random),
        torch.randn(count, 4, 3, generator=random) * 0.2,
    )


class PlainAdam:
    """Adam in separate steps over gradients by autograd."""

    def __init__(self, gaussians: Gaussians) -> None:
        self.gaussians = gaussians.packed()
        tensors = self.gaussians.tensors()
        self.exp_avg, self.exp_avg_sq = (
            {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} for _ in range(2)
        )
        self.steps = 0

    def step(self, gradients: dict[str, torch.Tensor], learning_rates: dict[str, float]) -> None:
        self.steps += 1
        groups = []
        for name, gradient in gradients.items():
            tensors = (getattr(self.gaussians, name), gradient, self.exp_avg[name], self.exp_avg_sq[name])
            if name == "sh_coefficients":
                for part, factor in ((slice(0, 1), 1.0), (slice(1, None), 0.05)):
                    groups.append(AdamGroup(*(tensor[:, part] for tensor in tensors), learning_rates[name] * factor))
            else:
                groups.append(AdamGroup(*tensors, learning_rates[name]))
        adam_step(groups, self.steps)


@pytest.mark.parametrize("regularization", [(0.0, 0.0), (2e-3, 3e-3)])
def test_step_equals_autograd_and_adam(regularization: tuple[float, float]) -> None:
    view = CameraRefinement([Camera(60, 40, 50.0, 50.0, 30.0, 20.0, np.eye(4))]).view(0, 60, 40)
    random = torch.Generator().manual_seed(3)
    fused, plain = GaussianOptimizer(some_gaussians()), PlainAdam(some_gaussians())
    learning_rates = {
        "means": 1e-3, "log_scales": 5e-3, "rotations": 1e-3, "logit_opacities": 5e-2, "sh_coefficients": 5e-3
    }  # fmt: skip
    background = torch.tensor([0.2, 0.4, 0.6])
    for step in range(4):
        degree = min(1, step)
        given = [torch.randn(shape, generator=random) for shape in ((3, 40, 60), (40, 60), (40, 60))]
        fused.render(view, degree, background)
        camera = fused.step(
            *given, learning_rates, opacity_regularization=regularization[0], scale_regularization=regularization[1]
        )

        gradients = gradient_renderer.backward(
            gradient_renderer.forward(plain.gaussians, view, degree, background), *given
        )
        opacities = plain.gaussians.opacities
        gradients.gaussians["logit_opacities"] += regularization[0] * opacities * (1 - opacities)
        gradients.gaussians["log_scales"] += regularization[1] * plain.gaussians.scales
        plain.step(gradients.gaussians, learning_rates)
        if step == 0:
            expected = gradients.camera.camera_from_world
            assert np.abs(camera.camera_from_world - expected).max() <= 1e-5 * np.abs(expected).max()
    assert fused.steps == plain.steps == 4
    for name, tensor in plain.gaussians.tensors().items():
        difference = (getattr(fused.gaussians, name) - tensor).abs().max().item()
        assert difference <= 2e-2 * learning_rates[name], name
    behind = (plain.gaussians.log_scales - some_gaussians().log_scales)[:40].abs().max()
    assert (behind > 0) == (regularization[1] > 0)


def test_an_edit_moves_moments_with_their_gaussians() -> None:
    state = GaussianOptimizer(some_gaussians(6)).state()
    state["exp_avg"]["means"] = 0.1 * torch.arange(6.0)[:, None].repeat(1, 3)
    optimizer = GaussianOptimizer.restored(state)
    optimizer.apply(Edit(torch.tensor([4, 1, 5]), some_gaussians(2), changed=torch.tensor([1])))
    assert len(optimizer.gaussians) == 5
    expected = 0.1 * torch.tensor([4.0, 0.0, 5.0, 0.0, 0.0])
    torch.testing.assert_close(optimizer.state()["exp_avg"]["means"][:, 0], expected)

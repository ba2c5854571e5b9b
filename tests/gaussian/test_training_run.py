"""The state of a run: contributions of Gaussians, and pruning at the end."""

from dataclasses import replace

import torch

from gaussian.optimizer import Edit
from gaussian.rendering import render
from gaussian.training_run import TrainingRun
from scene.gaussians import Gaussians
from scene.progress import ignore_progress
from tests.gaussian.wall_scene import SETTINGS, make_scene


def test_contributions_are_sums_of_blending_weights() -> None:
    run = TrainingRun(make_scene(), replace(SETTINGS, iterations=5))
    run.prepare(ignore_progress)
    frames = [3, 7]
    contributions = run.contributions(frames, 1)
    alpha = sum(float(render(run.gaussians, run.cameras.camera(frame)).alpha.sum()) for frame in frames)
    assert abs(float(contributions.total.sum()) - alpha) < 1e-3 * alpha
    masked = sum(float(1 - run.static_weights[frame].mean()) for frame in frames) / 2
    assert abs(float(contributions.static.sum()) / alpha - (1 - masked)) < 0.03
    assert (contributions.static <= contributions.total + 1e-3).all() and float(contributions.error.min()) >= 0


def test_unsupervised_gaussians_are_removed() -> None:
    run = TrainingRun(make_scene(), replace(SETTINGS, iterations=5))
    run.prepare(ignore_progress)
    before = len(run.gaussians)
    floaters = Gaussians(
        means=torch.tensor([[0.0, 0.0, -5.0], [0.0, 20.0, 4.0]]),
        log_scales=torch.full((2, 3), -3.0),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(2, 1),
        logit_opacities=torch.full((2,), 2.0),
        sh_coefficients=torch.zeros(2, run.gaussians.sh_coefficients.shape[1], 3),
    )
    run.optimizer.apply(Edit(torch.arange(before), floaters))
    run.finish()
    # the first is behind all cameras, the second outside of all images
    assert not any((run.gaussians.means == floater).all(dim=1).any() for floater in floaters.means)
    assert len(run.gaussians) > 0.8 * before


def test_a_large_background_stays() -> None:
    """A wall that shows through everywhere, and a Gaussian behind it that is larger than half its distance. Without the
    latter the end of a run would leave the scene partly transparent."""
    run = TrainingRun(make_scene(), replace(SETTINGS, iterations=5))
    run.prepare(ignore_progress)
    before = len(run.gaussians)
    run.gaussians.logit_opacities.fill_(-3.0)
    background = Gaussians(
        means=torch.tensor([[0.0, 0.0, 6.0]]),
        log_scales=torch.tensor([[3.0, 3.0, -4.0]]),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        logit_opacities=torch.full((1,), 5.0),
        sh_coefficients=torch.zeros(1, run.gaussians.sh_coefficients.shape[1], 3),
    )
    run.optimizer.apply(Edit(torch.arange(before), background))
    run.finish()
    assert (run.gaussians.means == background.means[0]).all(dim=1).any()
    alpha = torch.as_tensor(render(run.gaussians, run.cameras.camera(3)).alpha)
    assert float(alpha.mean()) > 0.98

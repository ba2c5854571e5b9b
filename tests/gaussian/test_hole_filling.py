"""Holes in a wall are filled with its color at its depth; a wall without holes is not changed."""

import numpy as np
import torch

from gaussian.hole_filling import fill_holes
from gaussian.rendering import render
from scene.camera import Camera
from scene.gaussians import Gaussians


def wall(hole: float) -> Gaussians:
    """Gray-green at z = 2, without a disc of radius `hole`."""
    grid = torch.linspace(-1.6, 1.6, 80)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    means = torch.stack([x, y, torch.full_like(x, 2.0)], dim=-1).view(-1, 3)
    means = means[means[:, :2].norm(dim=1) >= hole]
    count = len(means)
    color = torch.tensor([0.3, 0.6, 0.4]).repeat(count, 1)
    return Gaussians.isotropic(means, torch.full((count,), -3.2), torch.full((count,), 0.982), color, sh_degree=0)


CAMERA = Camera(96, 64, 70.0, 70.0, 48.0, 32.0, np.eye(4))


def test_hole_is_closed_with_its_surroundings() -> None:
    before = render(wall(0.5), CAMERA)
    assert (before.alpha < 0.5).sum() > 500
    gaussians = fill_holes(wall(0.5), [CAMERA])
    after = render(gaussians, CAMERA)
    middle = np.s_[24:40, 40:56]
    assert after.alpha.min() > 0.6
    color = after.image[middle] / after.alpha[middle][..., None]
    assert np.abs(color - [0.3, 0.6, 0.4]).max() < 0.05
    np.testing.assert_allclose(after.z_depth[middle], 2.0, rtol=0.05)
    assert len(gaussians) < len(wall(0.5)) + 150


def test_a_closed_wall_and_no_gaussians_are_not_changed() -> None:
    assert len(fill_holes(wall(0.0), [CAMERA])) == len(wall(0.0))
    assert len(fill_holes(Gaussians.empty(), [CAMERA])) == 0

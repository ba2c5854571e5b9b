"""The parameters of Gaussians: order in memory, and colors as spherical harmonics."""

import numpy as np
import torch

from scene.gaussians import Gaussians, morton_order, sh_from_color
from tests.paths import DATA


def test_morton_order_keeps_neighbors_together() -> None:
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    order = morton_order(points)
    assert torch.equal(order.sort().values, torch.arange(2000))
    sorted_steps = (points[order][1:] - points[order][:-1]).norm(dim=1).mean()
    assert sorted_steps < 0.3 * (points[1:] - points[:-1]).norm(dim=1).mean()


def test_a_color_as_spherical_harmonics_follows_the_golden_of_das3r() -> None:
    golden = np.load(DATA / "das3r_gs_math.npz")
    ours = sh_from_color(torch.from_numpy(golden["rgb"])).numpy()
    assert np.allclose(ours, golden["rgb2sh"], atol=1e-6)


def test_isotropic_gaussians() -> None:
    means, colors = torch.rand(5, 3), torch.rand(5, 3)
    gaussians = Gaussians.isotropic(means, torch.full((5,), -2.0), torch.full((5,), 0.3), colors, sh_degree=2)
    assert gaussians.sh_degree == 2 and torch.equal(gaussians.means, means)
    torch.testing.assert_close(gaussians.opacities, torch.full((5,), 0.3))
    torch.testing.assert_close(gaussians.scales, torch.full((5, 3), -2.0).exp())
    torch.testing.assert_close(gaussians.sh_coefficients[:, 0], sh_from_color(colors))
    assert (gaussians.sh_coefficients[:, 1:] == 0).all()

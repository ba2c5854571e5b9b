"""Splats for the browser against covariances and colors that were computed one by one."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from scene.gaussians import Gaussians, logit
from viewer.splats import splat_arrays, surface_points


def _gaussians(count: int = 50) -> Gaussians:
    generator = torch.Generator().manual_seed(1)
    return Gaussians(
        torch.randn(count, 3, generator=generator),
        torch.randn(count, 3, generator=generator) * 0.5 - 3,
        torch.randn(count, 4, generator=generator),
        logit(torch.linspace(0.001, 0.95, count)),
        torch.randn(count, 4, 3, generator=generator) * 0.3,
    )


def test_covariances_colors_and_opacities():
    gaussians = _gaussians()
    arrays = splat_arrays(gaussians, 1000)
    visible = np.flatnonzero(gaussians.opacities.numpy() >= 1 / 255)
    assert 0 < len(visible) < 50 and len(arrays.centers) == len(visible)
    for place, index in enumerate(visible):
        w, x, y, z = gaussians.rotations[index].tolist()
        rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        expected = rotation @ np.diag(gaussians.scales[index].numpy().astype(float) ** 2) @ rotation.T
        np.testing.assert_allclose(arrays.covariances[place], expected, rtol=1e-4, atol=1e-7)
        color = np.clip(0.5 + gaussians.sh_coefficients[index, 0].numpy() / (2 * np.sqrt(np.pi)), 0, 1)
        np.testing.assert_allclose(arrays.colors[place], color, atol=1e-6)
    np.testing.assert_allclose(arrays.opacities[:, 0], gaussians.opacities.numpy()[visible])
    assert len(surface_points(gaussians)) == (gaussians.opacities >= 0.3).sum()


def test_the_largest_and_least_transparent_stay_when_there_are_too_many():
    gaussians = _gaussians()
    gaussians.log_scales[7], gaussians.logit_opacities[7] = 1.0, 4.0
    arrays = splat_arrays(gaussians, 5)
    assert len(arrays.centers) == 5
    assert (arrays.centers == gaussians.means[7].numpy()).all(axis=1).any()


def test_a_rotation_of_zero_length_is_none():
    gaussians = _gaussians()
    gaussians.rotations[-1] = 0
    assert np.isfinite(splat_arrays(gaussians, 1000).covariances).all()

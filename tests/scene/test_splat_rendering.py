"""The renderer of many images against that of single ones."""

import numpy as np
import pytest
import torch

from gaussian.rendering import render
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.splat_rendering import Renderer


@pytest.fixture
def gaussians():
    random = torch.Generator().manual_seed(2)
    count = 900
    means = torch.randn(count, 3, generator=random) * torch.tensor([1.0, 0.7, 0.5]) + torch.tensor([0.0, 0.0, 3.0])
    return Gaussians(
        means=means,
        log_scales=torch.randn(count, 3, generator=random) * 0.3 - 2.8,
        rotations=torch.randn(count, 4, generator=random),
        logit_opacities=torch.randn(count, generator=random),
        sh_coefficients=torch.randn(count, 16, 3, generator=random) * 0.2,
    )


def cameras():
    for step in range(3):
        pose = np.eye(4)
        pose[0, 3] = 0.2 * step
        yield Camera(world_from_camera=pose, fx=90.0, fy=95.0, cx=52.0, cy=30.0, width=101, height=63)


def test_images_equal_single_renderings(gaussians):
    renderer = Renderer(gaussians)
    exposure = np.array([[1.1, 0.02], [0.9, 0.0], [1.0, -0.03]])
    for camera in cameras():
        one, expected = renderer.render(camera, exposure=exposure), render(gaussians, camera, exposure=exposure)
        assert expected.image.std() > 0.05 and (expected.z_depth > 0).mean() > 0.2
        assert one.image.dtype == np.float32 and one.image.shape == (63, 101, 3)
        # spherical harmonics in half precision, and a few pixels where an alpha is close to the threshold of 1/255
        assert np.abs(one.image - expected.image).max() <= 4e-3
        assert np.abs(one.image - expected.image).mean() <= 1e-4
        np.testing.assert_allclose(one.alpha, expected.alpha, atol=4e-3)
        both = (one.z_depth > 0) & (expected.z_depth > 0)
        np.testing.assert_allclose(one.z_depth[both], expected.z_depth[both], rtol=0.01)


def test_later_changes_of_the_gaussians_have_no_effect(gaussians):
    renderer, camera = Renderer(gaussians), next(cameras())
    before = renderer.render(camera).image
    gaussians.means.zero_()
    np.testing.assert_array_equal(renderer.render(camera).image, before)

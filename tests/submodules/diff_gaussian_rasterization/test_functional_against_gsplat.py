"""Images and gradients of `rasterize` against another library: gsplat's reference implementation in PyTorch.

Its projection, antialiasing and spherical harmonics run on any CPU; compositing is written out here, because its own
needs a GPU. Without the package this is skipped: pip install --no-deps gsplat==1.5.3 makes it run.
"""

import diff_gaussian_rasterization as kernels
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization import test_functional as gradients

reference = pytest.importorskip(
    "gsplat.cuda._torch_impl", reason="NOT CHECKED: gsplat, whose plain PyTorch is another reference, is not installed"
)


def render(
    means, rotations, scales, opacities, *, sh_coefficients, camera_from_world, intrinsics, background, screen_means,
    width, height, antialiased=False,
):  # fmt: skip
    """Image, alpha and depth by gsplat's projection and colors, in the precision of the arguments."""
    fx, fy, cx, cy = intrinsics.unbind()
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    matrix = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one]).view(1, 3, 3)
    covariances, _ = reference._quat_scale_to_covar_preci(rotations, scales, compute_preci=False)
    radii, centers, depths, conics, compensations = reference._fully_fused_projection(
        means, covariances, camera_from_world[None], matrix, width, height, calc_compensations=True
    )
    centers = centers[0] + screen_means
    if antialiased:
        opacities = opacities * compensations[0]
    rotation, translation = camera_from_world[:3, :3], camera_from_world[:3, 3]
    directions = means + rotation.T @ translation
    colors = (reference._spherical_harmonics(3, directions, sh_coefficients) + 0.5).clamp(min=0)
    pixels = {"dtype": means.dtype}
    y, x = torch.meshgrid(torch.arange(height, **pixels) + 0.5, torch.arange(width, **pixels) + 0.5, indexing="ij")
    image, alpha_sum, depth = (torch.zeros(*size, height, width, **pixels) for size in ((3,), (), ()))
    transmittance, alive = torch.ones(height, width, **pixels), torch.ones(height, width, dtype=torch.bool)
    for i in torch.argsort(depths[0].float(), stable=True).tolist():
        if (radii[0, i] <= 0).any():
            continue
        dx, dy, (a, b, c) = x - centers[i, 0], y - centers[i, 1], conics[0, i].unbind()
        alpha = (opacities[i] * torch.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))).clamp(max=0.99)
        seen = alpha >= 1 / 255
        alive = alive & ~(seen & (transmittance * (1 - alpha) < 1e-4))
        weight = torch.where(seen & alive, alpha * transmittance, 0.0)
        transmittance = torch.where(seen & alive, transmittance * (1 - alpha), transmittance)
        image, alpha_sum = image + weight * colors[i][:, None, None], alpha_sum + weight
        depth = depth + weight * depths[0, i]
    return image + transmittance * background[:, None, None], alpha_sum, depth


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_same_images_and_gradients(seed, antialiased):
    scene = gradients.make_scene(seed)
    # what is nearly behind the camera is projected differently by design: gsplat culls by its box of 3.33 deviations
    scene["means"][:, 2] += 0.7
    truth, expected = gradients.run(render, scene, torch.float64, antialiased=antialiased)
    ours, found = gradients.run(kernels.rasterize, scene, torch.float32, antialiased=antialiased)
    for name, wanted in zip(("image", "alpha", "depth"), truth, strict=True):
        assert (getattr(ours, name) - wanted).abs().max() <= 1e-3 * wanted.abs().max(), name
    for name, wanted in expected.items():
        assert (found[name] - wanted).abs().max() <= 1e-3 * wanted.abs().max(), name

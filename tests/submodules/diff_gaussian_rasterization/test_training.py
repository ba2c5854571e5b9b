"""The fused loss and Adam against the same computations in PyTorch."""

import numpy as np
import pytest
import torch
from diff_gaussian_rasterization import AdamGroup, adam_step, photometric_loss

from tests.paths import DATA


def ssim(x, y):
    """SSIM per pixel and channel by two-dimensional convolution, float64."""
    positions = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(positions**2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(values):
        return torch.nn.functional.conv2d(values[:, None], window[None, None], padding=5)[:, 0]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (4, 130), (65, 16)])
@pytest.mark.parametrize("kind", ["float", "bytes", "bytes, channels last"])
def test_loss_equals_torch(size, kind):
    random = torch.Generator().manual_seed(0)
    image = torch.rand(3, *size, generator=random)
    levels = torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
    image[:, : size[0] // 3] = (
        levels[:, : size[0] // 3].float() / 255
    )  # where they are equal the output_gradient of L1 is 0
    weights = [torch.rand(size, generator=random) * (torch.rand(size, generator=random) > 0.3) for _ in range(2)]
    target = {"float": levels.float() / 255, "bytes": levels}.get(kind)
    if target is None:
        target = levels.permute(1, 2, 0).contiguous()
    ours = photometric_loss(image, target, *weights, l1_factor=0.7, ssim_factor=0.4, maps=True)

    x = image.double().requires_grad_()
    # the same rounding of the target, or equal pixels would not be equal
    y = (levels.float() * (1 / 255) if kind != "float" else levels.float() / 255).double()
    l1_map, ssim_map = (x - y).abs().mean(0), 1 - ssim(x, y).mean(0)
    l1_sum, ssim_sum = (weights[0] * l1_map).sum(), (weights[1] * ssim_map).sum()
    (0.7 * l1_sum + 0.4 * ssim_sum).backward()
    assert ours.l1_sum == pytest.approx(l1_sum.item(), rel=1e-5, abs=1e-6)
    assert ours.ssim_sum == pytest.approx(ssim_sum.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(ours.l1_map.double(), l1_map.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.ssim_map.double(), ssim_map.detach(), rtol=1e-4, atol=5e-6)
    exact = (x.detach() - y).abs() < 1e-6  # the two roundings may disagree on the sign there
    difference = torch.where(exact, torch.zeros_like(x), ours.gradient - x.grad).abs().max()
    assert difference <= 1e-4 * max(x.grad.abs().max().item(), 1e-3)


def test_loss_without_weights_and_parts():
    image, target = torch.rand(3, 40, 31), torch.rand(3, 40, 31)
    ones = torch.ones(40, 31)
    full = photometric_loss(image, target, ones, ones, l1_factor=1.0, ssim_factor=1.0)
    plain = photometric_loss(image, target, l1_factor=1.0, ssim_factor=1.0)
    assert torch.equal(full.gradient, plain.gradient) and full[:2] == plain[:2] and full.l1_map is None
    only_l1 = photometric_loss(image, target, l1_factor=2.0, ssim_factor=0.0)
    torch.testing.assert_close(only_l1.gradient, 2 / 3 * torch.sign(image - target))
    assert only_l1.ssim_sum == 0
    assert photometric_loss(image, target, l1_factor=1.0, ssim_factor=0.0, gradient=False).gradient is None


def test_loss_does_not_depend_on_threads(threads):
    image, target = torch.rand(3, 211, 133), torch.rand(3, 211, 133)
    threads(1)
    expected = photometric_loss(image, target, l1_factor=0.8, ssim_factor=0.2, maps=True)
    threads(2)
    got = photometric_loss(image, target, l1_factor=0.8, ssim_factor=0.2, maps=True)
    assert got[:2] == expected[:2]
    assert all(torch.equal(a, b) for a, b in zip(got[2:], expected[2:], strict=True))


def test_loss_follows_the_golden_of_the_reference():
    golden = {name: torch.from_numpy(value) for name, value in np.load(DATA / "das3r_gs_losses.npz").items()}
    static = golden["static"]
    pixels = static.numel()
    # the reference multiplies both images by the static weight and takes means over everything
    loss = photometric_loss(
        (static * golden["render"]).contiguous(),
        (static * golden["gt"]).contiguous(),
        l1_factor=0.8 / pixels,
        ssim_factor=0.2 / pixels,
        maps=True,
    )
    total = 0.8 * loss.l1_sum / pixels + 0.2 * loss.ssim_sum / pixels
    assert total == pytest.approx(golden["loss"].item(), rel=1e-5)
    assert 1 - loss.ssim_sum / pixels == pytest.approx(golden["ssim_mean"].item(), rel=1e-5)
    torch.testing.assert_close(loss.ssim_map, 1 - golden["ssim_map"].mean(0), rtol=1e-4, atol=1e-5)
    output_gradient = golden["grad_render"]
    assert (loss.gradient * static - output_gradient).abs().max() <= 1e-4 * output_gradient.abs().max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(4, 5, 3), torch.rand(4, 5, 3)), "image must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 5)), "target must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4).double()), "target must be float32 or uint8"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4), torch.rand(4, 5)), "l1_weight must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4), None, torch.rand(5, 4).double()), "ssim_weight must be float32"),
    ],
)
def test_loss_refuses_wrong_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        photometric_loss(*arguments, l1_factor=1.0, ssim_factor=1.0)


def test_adam_equals_torch():
    random = torch.Generator().manual_seed(0)
    shapes, rates = [(1003, 3), (77,), (51, 16, 3)], [1e-2, 3e-3, 1e-1]
    theirs = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
    ours = [value.detach().clone() for value in theirs]
    ours[2] = ours[2].permute(1, 2, 0).contiguous().permute(2, 0, 1)  # another memory layout
    first, second = [torch.zeros_like(v) for v in ours], [torch.zeros_like(v) for v in ours]
    optimizer = torch.optim.Adam(
        [{"params": [value], "lr": rate} for value, rate in zip(theirs, rates, strict=True)], eps=1e-15
    )
    for step in range(1, 41):
        gradients = [
            torch.randn(v.shape, generator=random) * 10.0 ** torch.randint(-6, 3, v.shape, generator=random)
            for v in theirs
        ]
        for gradient in gradients:
            gradient[::7] = 0  # moments go on without a gradient
        for value, gradient in zip(theirs, gradients, strict=True):
            value.grad = gradient
        optimizer.step()
        adam_step([AdamGroup(*group) for group in zip(ours, gradients, first, second, rates, strict=True)], step)
    for mine, value in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, value.detach(), rtol=1e-4, atol=2e-5)


def test_adam_on_slices_of_sh_coefficients():
    sh = torch.randn(16, 3, 40).permute(2, 0, 1)
    gradient, first, second = torch.randn_like(sh), torch.zeros_like(sh), torch.zeros_like(sh)
    before = sh.clone()
    groups = [
        AdamGroup(sh[:, :1], gradient[:, :1], first[:, :1], second[:, :1], 0.1),
        AdamGroup(sh[:, 1:], gradient[:, 1:], first[:, 1:], second[:, 1:], 0.01),
    ]
    adam_step(groups, 1)
    # the first step of Adam is the rate times the sign
    torch.testing.assert_close(before[:, :1] - sh[:, :1], 0.1 * gradient[:, :1].sign(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(before[:, 1:] - sh[:, 1:], 0.01 * gradient[:, 1:].sign(), rtol=1e-4, atol=1e-6)


def test_adam_of_the_visible_only():
    tensors = [torch.rand(3, 100).T for _ in range(4)]
    before = [value.clone() for value in tensors]
    visible = torch.rand(100) > 0.5
    adam_step([AdamGroup(*tensors, 0.1)], 3, visible=visible)
    expected = [value.clone() for value in before]
    adam_step([AdamGroup(*(v.T.contiguous().T for v in expected), 0.1)], 3)
    for k in (0, 2, 3):
        assert torch.equal(tensors[k][~visible], before[k][~visible])
        assert not torch.equal(tensors[k][visible], before[k][visible])


def test_adam_refuses_wrong_input():
    good = torch.zeros(10, 3)
    with pytest.raises(ValueError, match="step counts from 1"):
        adam_step([AdamGroup(good, good, good, good, 0.1)], 0)
    with pytest.raises(ValueError, match="gradient must have the parameter's shape"):
        adam_step([AdamGroup(good, torch.zeros(10), good, good, 0.1)], 1)
    with pytest.raises(ValueError, match="same memory layout"):
        adam_step([AdamGroup(good, good, torch.zeros(3, 10).T, good, 0.1)], 1)
    with pytest.raises(ValueError, match="contiguous over Gaussians"):
        adam_step([AdamGroup(good, good, good, good, 0.1)], 1, visible=torch.ones(10, dtype=torch.bool))

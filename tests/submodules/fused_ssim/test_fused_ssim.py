"""fused_ssim against SSIM by convolutions."""

import pytest
import torch


@pytest.mark.parametrize("shape", [(1, 3, 30, 41), (2, 3, 17, 11), (1, 1, 20, 20), (3, 4, 12, 25)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_fused_ssim_equals_convolutions(shape, padding):
    fused_ssim = pytest.importorskip("fused_ssim", reason="NOT CHECKED: submodules/fused-ssim is not installed")
    random = torch.Generator().manual_seed(1)
    image, target = torch.rand(shape, generator=random), torch.rand(shape, generator=random)
    ours = image.clone().requires_grad_()
    value = fused_ssim.fused_ssim(ours, target, padding=padding)
    (2.5 * value).backward()

    positions = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(positions**2) / 4.5)
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]
    x = image.double().requires_grad_()

    def mean(values):
        flat = values.reshape(-1, 1, *shape[2:])
        return torch.nn.functional.conv2d(flat, window, padding=5 if padding == "same" else 0)

    y = target.double()
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    expected = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()
    (2.5 * expected).backward()
    assert value.ndim == 0 and value.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    assert (ours.grad - x.grad).abs().max() <= 1e-4 * x.grad.abs().max()


def test_fused_ssim_without_training():
    fused_ssim = pytest.importorskip("fused_ssim", reason="NOT CHECKED: submodules/fused-ssim is not installed")
    image = torch.rand(1, 3, 20, 20, requires_grad=True)
    assert fused_ssim.fused_ssim(image, image.detach(), train=False).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="padding must be same or valid, not reflect"):
        fused_ssim.fused_ssim(image, image, padding="reflect")
    with pytest.raises(ValueError, match="same shape"):
        fused_ssim.fused_ssim(image, image[0])

"""Mean SSIM of two batches of images with its gradient in one pass: a drop-in replacement of `fused_ssim`."""

from typing import Literal

import torch
from diff_gaussian_rasterization import photometric_loss
from torch.autograd.function import once_differentiable

__all__ = ["fused_ssim"]

_MARGIN = 5  # pixels from the center of the 11x11 window to its border


def fused_ssim(
    img1: torch.Tensor, img2: torch.Tensor, padding: Literal["same", "valid"] = "same", train: bool = True
) -> torch.Tensor:
    """Mean SSIM (Wang et al. 2004) of (B, C, H, W) float32 images in [0, 1], a scalar; only `img1` gets a gradient.

    The window is an 11x11 Gaussian with sigma 1.5. With padding `same` the images are padded with zeros; with `valid`
    only windows inside the image count. Without `train` no gradient is computed.

    Raises ValueError for other shapes, types or paddings.
    """
    if padding not in ("same", "valid"):
        raise ValueError(f"padding must be same or valid, not {padding}")
    if img1.ndim != 4 or img1.shape != img2.shape:
        raise ValueError(
            f"both images must have the same shape (B, C, H, W), not {tuple(img1.shape)} and {tuple(img2.shape)}"
        )
    if padding == "valid" and min(img1.shape[2:]) <= 2 * _MARGIN:
        raise ValueError(f"padding valid needs more than {2 * _MARGIN} pixels, not {tuple(img1.shape[2:])}")
    return _MeanSsim.apply(img1, img2, padding == "valid", train and torch.is_grad_enabled() and img1.requires_grad)


class _MeanSsim(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, target, inside: bool, needs_gradient: bool):
        batch, channels, height, width = image.shape
        weight, windows = None, height * width
        if inside:
            weight = torch.zeros(height, width, device=image.device)
            weight[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = 1.0
            windows = (height - 2 * _MARGIN) * (width - 2 * _MARGIN)
        planes = image.detach().reshape(-1, height, width), target.detach().reshape(-1, height, width)
        missing = -len(planes[0]) % 3  # photometric_loss takes three planes; padding planes of zeros contribute nothing
        if missing:
            planes = tuple(torch.cat([p, p.new_zeros(missing, height, width)]) for p in planes)
        count = batch * channels * windows
        total, gradients = 0.0, []
        for k in range(0, len(planes[0]), 3):
            # its sum is over pixels, of the mean over three channels of 1 - SSIM
            loss = photometric_loss(
                planes[0][k : k + 3], planes[1][k : k + 3], ssim_weight=weight, l1_factor=0.0,
                ssim_factor=-3.0 / count, gradient=needs_gradient,
            )  # fmt: skip
            total = total + loss.ssim_sum
            gradients.append(loss.gradient)
        ctx.gradient = torch.cat(gradients)[: batch * channels].view(image.shape) if needs_gradient else None
        return torch.as_tensor(1.0 - 3.0 * total / count, dtype=image.dtype, device=image.device)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_mean):
        if ctx.gradient is None:
            raise RuntimeError("fused_ssim with train=False has no gradient")
        return ctx.gradient * d_mean, None, None, None

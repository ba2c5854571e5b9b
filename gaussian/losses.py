"""The masked photometric loss, written out in plain torch; the kernels' fused one computes the same.

L = (1 - s) * sum(w |x - y|) / sum(w) + s * sum(v (1 - SSIM)) / sum(v), where w is the static weight of a pixel and v
that of the least static pixel in its SSIM window. Both are means over what counts: how much of a picture is masked
changes neither the size of the loss nor that of its gradient per static pixel.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def window_weight(weight: np.ndarray) -> np.ndarray:
    """The least weight (H, W) in the SSIM window around each pixel, so that no window sees what moves. Beyond the
    border nothing is known to move."""
    return cv2.erode(weight, np.ones((SSIM_WINDOW, SSIM_WINDOW), np.uint8))


def masked_loss(
    rendered: Tensor, target: Tensor, weight: Tensor, weight_of_window: Tensor, ssim_weight: float
) -> Tensor:
    """Scalar loss of a picture (3, H, W) against `target`; weights (H, W) in [0, 1], of pixels and of SSIM windows.

    SSIM (Wang et al., 2004) has an 11x11 Gaussian window of sigma 1.5, zero padding, C1 = 0.01^2 and C2 = 0.03^2.
    """
    difference = (weight * (rendered - target).abs().mean(dim=0)).sum() / weight.sum().clamp_min(1e-6)
    if ssim_weight == 0:
        return difference
    dissimilarity = weight_of_window * (1 - ssim_map(rendered, target).mean(dim=0))
    return (1 - ssim_weight) * difference + ssim_weight * dissimilarity.sum() / weight_of_window.sum().clamp_min(1e-6)


def ssim_map(rendered: Tensor, target: Tensor) -> Tensor:
    """(3, H, W) structural similarity around each pixel, zeros beyond the border."""
    offsets = torch.arange(SSIM_WINDOW, dtype=rendered.dtype) - SSIM_WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()

    def blurred(picture: Tensor) -> Tensor:
        picture = torch.nn.functional.conv2d(picture[:, None], kernel.view(1, 1, -1, 1), padding=(SSIM_WINDOW // 2, 0))
        return torch.nn.functional.conv2d(picture, kernel.view(1, 1, 1, -1), padding=(0, SSIM_WINDOW // 2))[:, 0]

    mean_x, mean_y = blurred(rendered), blurred(target)
    variance_x = blurred(rendered * rendered) - mean_x**2
    variance_y = blurred(target * target) - mean_y**2
    covariance = blurred(rendered * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)


def picture_loss(
    rendered: Tensor, target: Tensor, weight: Tensor, weight_of_window: Tensor, ssim_weight: float
) -> tuple[float, Tensor]:
    """`masked_loss` and its derivative (3, H, W) with respect to `rendered`, derived by hand."""
    x = np.ascontiguousarray(rendered.permute(1, 2, 0).numpy())
    y = np.ascontiguousarray(target.permute(1, 2, 0).numpy())
    w, v = weight.numpy(), weight_of_window.numpy()
    difference = x - y
    pixel_share = w / (3 * max(float(w.sum()), 1e-6))
    loss = (1 - ssim_weight) * float((np.abs(difference).sum(axis=2) * pixel_share).sum())
    slope = np.sign(difference) * ((1 - ssim_weight) * pixel_share)[..., None]
    if ssim_weight > 0:
        share = (ssim_weight * v / (3 * max(float(v.sum()), 1e-6)))[..., None]
        mean_x, mean_y = _blurred(x), _blurred(y)
        a1, b1 = 2 * mean_x * mean_y + 0.01**2, mean_x**2 + mean_y**2 + 0.01**2
        a2 = 2 * (_blurred(x * y) - mean_x * mean_y) + 0.03**2
        b2 = _blurred(x * x) + _blurred(y * y) - mean_x**2 - mean_y**2 + 0.03**2
        similarity = a1 * a2 / (b1 * b2)
        loss += float((share * (1 - similarity)).sum())
        by_mean = 2 * mean_y * (a2 - a1) / (b1 * b2) + similarity * 2 * mean_x * (1 / b2 - 1 / b1)
        by_square, by_product = -similarity / b2, 2 * a1 / (b1 * b2)
        slope -= _blurred(share * by_mean) + 2 * x * _blurred(share * by_square) + y * _blurred(share * by_product)
    return loss, torch.from_numpy(slope).permute(2, 0, 1).contiguous()


def _blurred(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA, borderType=cv2.BORDER_CONSTANT)

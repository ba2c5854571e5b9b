"""The masked photometric loss, in plain torch (`masked_loss`) and by the fused kernel (`image_loss`).

L = (1 - s) * sum(w |x - y|) / sum(w) + s * sum(v (1 - SSIM)) / sum(v), where w is the static weight of a pixel and v
that of the least static pixel in its SSIM window. Both are means over what counts: how much of a image is masked
changes neither the size of the loss nor that of its gradient per static pixel.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from diff_gaussian_rasterization import photometric_loss
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
    """Scalar loss of a image (3, H, W) against `target`; weights (H, W) in [0, 1], of pixels and of SSIM windows.

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

    def blurred(image: Tensor) -> Tensor:
        image = torch.nn.functional.conv2d(image[:, None], kernel.view(1, 1, -1, 1), padding=(SSIM_WINDOW // 2, 0))
        return torch.nn.functional.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, SSIM_WINDOW // 2))[:, 0]

    mean_x, mean_y = blurred(rendered), blurred(target)
    variance_x = blurred(rendered * rendered) - mean_x**2
    variance_y = blurred(target * target) - mean_y**2
    covariance = blurred(rendered * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)


class ImageLoss(NamedTuple):
    """What `image_loss` returns."""

    #: on a GPU a scalar there, which nobody has waited for
    value: float | Tensor
    #: (3, H, W) derivative with respect to the image
    slope: Tensor
    #: (H, W) mean over channels of the absolute difference, unweighted; None if not wanted
    residual: Tensor | None


def image_loss(
    rendered: Tensor,
    target: Tensor,
    weight: Tensor,
    weight_of_window: Tensor,
    ssim_weight: float,
    *,
    residual: bool = False,
) -> ImageLoss:
    """`masked_loss` and its derivative by the fused kernel; `target` may be uint8."""
    pixels = max(float(weight.sum()), 1e-6)
    windows = max(float(weight_of_window.sum()), 1e-6)
    result = photometric_loss(
        rendered,
        target,
        weight,
        weight_of_window,
        l1_factor=(1 - ssim_weight) / pixels,
        ssim_factor=ssim_weight / windows,
        maps=residual,
    )
    assert result.gradient is not None
    value = (1 - ssim_weight) * result.l1_sum / pixels + ssim_weight * result.ssim_sum / windows
    return ImageLoss(value, result.gradient, result.l1_map)

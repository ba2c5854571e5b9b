"""The masked photometric loss.

L = (1 - s) * sum(w |x - y|) / sum(w) + s * sum(v (1 - SSIM)) / sum(v), where w is the static weight of a pixel and v
the smallest static weight in the SSIM window around it. Both terms are weighted means, so the share of the image that
is masked changes neither the size of the loss nor the gradient per static pixel. SSIM (Wang et al., 2004) has an 11x11
Gaussian window of sigma 1.5, zero padding, C1 = 0.01^2 and C2 = 0.03^2.
"""

from typing import NamedTuple

import cv2
import numpy as np
from diff_gaussian_rasterization import photometric_loss
from torch import Tensor

from gaussian.metrics import SSIM_WINDOW


def window_weight(weight: np.ndarray) -> np.ndarray:
    """The smallest weight (H, W) in the SSIM window around each pixel, so that windows that touch moving pixels do not
    count. Pixels beyond the border count as static."""
    return cv2.erode(weight, np.ones((SSIM_WINDOW, SSIM_WINDOW), np.uint8))


class ImageLoss(NamedTuple):
    """The result of `image_loss`."""

    #: on a GPU a scalar tensor there, so that the kernels are not waited for
    value: float | Tensor
    #: (3, H, W) gradient with respect to the image
    gradient: Tensor
    #: (H, W) mean over channels of the absolute difference, unweighted; None unless requested
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
    """Loss of an image (3, H, W) in [0, 1] against `target`, which may be uint8, with its gradient.

    `weight`, `weight_of_window`: (H, W) in [0, 1], of pixels and of SSIM windows.
    """
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

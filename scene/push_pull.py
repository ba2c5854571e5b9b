"""Completes images smoothly (push-pull, Gortler et al., "The Lumigraph", SIGGRAPH 1996)."""

import cv2
import numpy as np


def push_pull(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`values` (H, W, C) where `weight` (H, W) is above 0, elsewhere interpolated from coarser levels."""
    height, width = weight.shape
    if min(height, width) <= 1 or weight.min() > 0:
        return values
    size = (width + 1) // 2, (height + 1) // 2
    coarse_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
    coarse = coarse.reshape(*coarse_weight.shape, -1) / np.maximum(coarse_weight, 1e-6)[..., None]
    coarse = push_pull(coarse, (coarse_weight > 1e-6).astype(np.float32))
    finer = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    return np.where(weight[..., None] > 0, values, finer)

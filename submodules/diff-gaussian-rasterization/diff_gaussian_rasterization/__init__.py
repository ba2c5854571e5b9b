"""Differentiable Gaussian rasterizer for CPUs and GPUs.

`GaussianRasterizationSettings` and `GaussianRasterizer` are the interface of the original rasterizer of 3D Gaussian
Splatting (Kerbl et al. 2023) and its variants; see `drop_in`. `rasterize` is our own interface, with alpha, depth and
gradients to the camera.
"""

from diff_gaussian_rasterization._library import num_threads, release_memory, set_num_threads, set_simd, simd
from diff_gaussian_rasterization.drop_in import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    rasterize_gaussians,
    set_returns,
)
from diff_gaussian_rasterization.functional import Rendering, rasterize
from diff_gaussian_rasterization.fused_optimizer import CameraGradients, FusedOptimizer
from diff_gaussian_rasterization.prepared import PreparedGaussians, PreparedRendering
from diff_gaussian_rasterization.sparse_adam import SparseGaussianAdam
from diff_gaussian_rasterization.training import AdamGroup, PhotometricLoss, adam_step, photometric_loss

__all__ = [
    "AdamGroup",
    "CameraGradients",
    "FusedOptimizer",
    "GaussianRasterizationSettings",
    "GaussianRasterizer",
    "PhotometricLoss",
    "PreparedGaussians",
    "PreparedRendering",
    "Rendering",
    "SparseGaussianAdam",
    "adam_step",
    "num_threads",
    "photometric_loss",
    "rasterize",
    "rasterize_gaussians",
    "release_memory",
    "set_num_threads",
    "set_returns",
    "set_simd",
    "simd",
]

"""Differentiable Gaussian rasterizer for CPUs.

`GaussianRasterizationSettings` and `GaussianRasterizer` are the interface that code around 3D Gaussian Splatting
(Kerbl et al. 2023) is written for. `rasterize` is our own, with alpha, depth, and gradients to the camera.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from diff_gaussian_rasterization import _library
from diff_gaussian_rasterization._library import num_threads, release_memory, set_num_threads, set_simd, simd
from diff_gaussian_rasterization.functional import (
    Rendering,
    _check_gaussian,
    _check_means,
    _check_size,
    _on_cpu,
    _Settings,
    project_gradient_in_ndc,
    rasterize,
)
from diff_gaussian_rasterization.fused_optimizer import CameraGradients, FusedOptimizer
from diff_gaussian_rasterization.training import AdamGroup, PhotometricLoss, adam_step, photometric_loss

__all__ = [
    "AdamGroup",
    "CameraGradients",
    "FusedOptimizer",
    "GaussianRasterizationSettings",
    "GaussianRasterizer",
    "PhotometricLoss",
    "Rendering",
    "adam_step",
    "num_threads",
    "photometric_loss",
    "rasterize",
    "release_memory",
    "set_num_threads",
    "set_simd",
    "simd",
]


class GaussianRasterizationSettings(NamedTuple):
    """A view. Matrices are transposed (they multiply row vectors from the right), as 3DGS code passes them."""

    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: torch.Tensor  # (3,)
    scale_modifier: float
    viewmatrix: torch.Tensor  # (4, 4), camera_from_world transposed
    projmatrix: torch.Tensor  # (4, 4), (projection @ camera_from_world) transposed
    sh_degree: int
    campos: torch.Tensor  # (3,)
    prefiltered: bool = False
    debug: bool = False
    antialiasing: bool = False
    near_plane: float = 0.01


class GaussianRasterizer(nn.Module):
    """Renders one view: `image, radii = GaussianRasterizer(settings)(means3D, means2D, opacities, shs=...)`."""

    def __init__(self, raster_settings: GaussianRasterizationSettings) -> None:
        super().__init__()
        self.raster_settings = raster_settings

    def markVisible(self, positions: torch.Tensor) -> torch.Tensor:
        """(N,) bool: which points lie beyond the near plane."""
        settings = self.raster_settings
        with torch.no_grad():
            view = settings.viewmatrix.to(positions)
            return positions @ view[:3, 2] + view[3, 2] > settings.near_plane

    def forward(
        self,
        means3D: torch.Tensor,
        means2D: torch.Tensor,
        opacities: torch.Tensor,
        shs: torch.Tensor | None = None,
        colors_precomp: torch.Tensor | None = None,
        scales: torch.Tensor | None = None,
        rotations: torch.Tensor | None = None,
        cov3D_precomp: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (3, H, W) and radii (N,) int32. The gradient of `means2D` (N, 3) is in units of half the image."""
        rendering = self.render(means3D, means2D, opacities, shs, colors_precomp, scales, rotations, cov3D_precomp)
        return rendering.image, rendering.radii

    def render(
        self,
        means3D: torch.Tensor,
        means2D: torch.Tensor,
        opacities: torch.Tensor,
        shs: torch.Tensor | None = None,
        colors_precomp: torch.Tensor | None = None,
        scales: torch.Tensor | None = None,
        rotations: torch.Tensor | None = None,
        cov3D_precomp: torch.Tensor | None = None,
    ) -> Rendering:
        """Like `forward`, and alpha and depth too."""
        settings = self.raster_settings
        shs, colors_precomp, scales, rotations, cov3D_precomp = (
            None if t is None or (t.ndim == 1 and t.numel() == 0) else t
            for t in (shs, colors_precomp, scales, rotations, cov3D_precomp)
        )
        if (shs is None) == (colors_precomp is None):
            raise ValueError("please provide exactly one of SHs and precomputed colors")
        if ((scales is None or rotations is None) and cov3D_precomp is None) or (
            (scales is not None or rotations is not None) and cov3D_precomp is not None
        ):
            raise ValueError("please provide exactly one of a scale/rotation pair and a precomputed 3D covariance")
        count, where = _check_means("means3D", means3D)
        _check_gaussian("means2D", means2D, tuple(means2D.shape[1:]), count, where)
        if means2D.ndim != 2 or means2D.shape[1] < 2:
            raise ValueError(f"means2D must have shape ({count}, 3), not {tuple(means2D.shape)}")
        if opacities.ndim == 2 and opacities.shape[1] == 1:
            opacities = opacities[:, 0]
        _check_gaussian("opacities", opacities, (), count, where)
        degree = 0
        if shs is not None:
            if shs.ndim != 3:
                raise ValueError(f"shs must have shape (N, K, 3), not {tuple(shs.shape)}")
            _check_gaussian("shs", shs, (shs.shape[1], 3), count, where)
            degree = int(settings.sh_degree)
            if not 0 <= degree <= 3 or (degree + 1) ** 2 > shs.shape[1]:
                raise ValueError(f"sh_degree must be 0 to 3 and fit the {shs.shape[1]} coefficients, not {degree}")
        if colors_precomp is not None:
            _check_gaussian("colors_precomp", colors_precomp, (3,), count, where)
        if cov3D_precomp is not None:
            _check_gaussian("cov3D_precomp", cov3D_precomp, (6,), count, where)
        elif scales is not None and rotations is not None:
            _check_gaussian("scales", scales, (3,), count, where)
            _check_gaussian("rotations", rotations, (4,), count, where)
        width, height = settings.image_width, settings.image_height
        _check_size(width, height)
        pose = _on_cpu("viewmatrix", settings.viewmatrix, (4, 4)).T
        intrinsics = _intrinsics(settings, pose.detach())
        flags = _library.ANTIALIASED * bool(settings.antialiasing)
        numbers = _Settings(
            int(width), int(height), degree, flags, float(settings.near_plane), float(settings.scale_modifier)
        )
        center = tuple(_on_cpu("campos", settings.campos.reshape(-1), (3,)).tolist())
        camera = (pose, intrinsics, _on_cpu("bg", settings.bg, (3,)), center)
        return project_gradient_in_ndc(
            means3D, means2D, rotations, scales, opacities, shs, colors_precomp, cov3D_precomp, camera, numbers
        )


def _intrinsics(settings: GaussianRasterizationSettings, pose: torch.Tensor) -> torch.Tensor:
    """fx, fy, cx, cy in pixels out of the projection matrix, so that principal points off the centre work."""
    full = _on_cpu("projmatrix", settings.projmatrix, (4, 4)).detach().T.double()
    projection = torch.linalg.solve(pose.double().T, full.T).T.tolist()  # full @ inverse(pose)
    w = projection[3][2]
    if not math.isfinite(w) or abs(w) < 1e-6:
        raise ValueError("projmatrix must be a perspective projection times the view, transposed")
    half_width, half_height = 0.5 * settings.image_width, 0.5 * settings.image_height
    return _on_cpu(
        "intrinsics",
        (
            projection[0][0] / w * half_width,
            projection[1][1] / w * half_height,
            (projection[0][2] / w + 1.0) * half_width,
            (projection[1][2] / w + 1.0) * half_height,
        ),
        (4,),
    )

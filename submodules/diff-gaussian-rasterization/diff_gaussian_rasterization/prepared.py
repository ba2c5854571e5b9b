"""Faster rendering of Gaussians that do not change, from many cameras."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization._library import Frame, library, prefer_large_pages
from diff_gaussian_rasterization.checks import (
    camera_numbers,
    check_gaussian,
    check_means,
    check_positive,
    check_sh,
    check_size,
)
from diff_gaussian_rasterization.cpu_structs import GROUP, OutputsStruct, PreparedStruct, SceneStruct
from diff_gaussian_rasterization.functional import rasterize
from diff_gaussian_rasterization.structs import pointer
from diff_gaussian_rasterization.torch_splatting import drawable_quaternions, rotation_matrices

#: float32 numbers of a prepared Gaussian: mean, axes, log2 of the opacity, color of degree 0
_FLOATS = 16
_SH_CONSTANT = 0.28209479177387814
_LARGEST_HALF = 65504.0


class PreparedRendering(NamedTuple):
    """The result of `PreparedGaussians.render`."""

    #: (3, H, W) float32, over the background
    image: torch.Tensor
    #: (H, W) sum of the compositing weights, 1 - transmittance
    alpha: torch.Tensor
    #: (H, W) sum of weight * z; divide by alpha for the expected depth
    depth: torch.Tensor


class PreparedGaussians:
    """Renders the same Gaussians from many cameras, without gradients, faster than `rasterize`.

    Everything that does not depend on the camera is computed once: activations, the axes of the Gaussians, the color of
    degree 0. On the CPU, spherical harmonics coefficients above degree 0 are stored in half precision, which changes
    colors by about 1e-4 and reduces the memory read per Gaussian by a third (156 bytes with degree 3). On a GPU,
    without compiled kernels, and with coefficients beyond the range of half precision, the activated tensors are stored
    and `rasterize` renders them. Several threads may render at the same time.

    Gaussians that are close to each other should be close in memory too (Morton order).
    """

    def __init__(
        self,
        means: torch.Tensor,  # (N, 3) world
        rotations: torch.Tensor,  # (N, 4) quaternions wxyz, any length
        scales: torch.Tensor,  # (N, 3)
        opacities: torch.Tensor,  # (N,)
        *,
        sh_coefficients: torch.Tensor,  # (N, K, 3)
        sh_degree: int | None = None,
        scale_modifier: float = 1.0,
        log_scales: bool = False,
        opacity_logits: bool = False,
    ) -> None:
        """Copies tensors as `rasterize` takes them. Raises ValueError for a wrong shape, type or device."""
        count, where = check_means("means", means)
        check_gaussian("rotations", rotations, (4,), count, where)
        check_gaussian("scales", scales, (3,), count, where)
        check_gaussian("opacities", opacities, (), count, where)
        degree = check_sh(sh_coefficients, sh_degree, count, where)
        check_positive("scale_modifier", scale_modifier)
        self._count, self._degree = count, degree
        self._library: Any = library.active
        self._groups: torch.Tensor | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            scales = (scales.exp() if log_scales else scales) * scale_modifier
            opacities = opacities.sigmoid() if opacity_logits else opacities
            sh = sh_coefficients[:, : (degree + 1) ** 2]
            higher = sh[:, 1:]
            fits_half = bool(((higher.abs() <= _LARGEST_HALF) | ~higher.isfinite()).all())
            if where.type == "cpu" and library.has_grouped_layout and fits_half:
                self._groups = _in_groups(means, rotations, scales, opacities, sh)
            else:
                given = {"means": means, "rotations": rotations, "scales": scales, "opacities": opacities}
                given["sh_coefficients"] = sh
                self._tensors = {name: tensor.detach().clone() for name, tensor in given.items()}

    def __len__(self) -> int:
        return self._count

    def render(
        self,
        *,
        camera_from_world: torch.Tensor,  # (4, 4)
        intrinsics: torch.Tensor | Sequence[float],  # fx, fy, cx, cy in pixels
        width: int,
        height: int,
        background: torch.Tensor | Sequence[float] | None = None,  # (3,), default black
        near_plane: float = 0.01,
        antialiased: bool = False,
        inverse_depth: bool = False,
    ) -> PreparedRendering:
        """Renders like `rasterize`. Raises ValueError for a wrong shape or type, and for settings out of range."""
        if self._groups is None:
            with torch.no_grad():
                rendering = rasterize(
                    **self._tensors,
                    camera_from_world=camera_from_world,
                    intrinsics=intrinsics,
                    width=width,
                    height=height,
                    background=background,
                    near_plane=near_plane,
                    antialiased=antialiased,
                    inverse_depth=inverse_depth,
                )
            return PreparedRendering(*rendering[:3])
        check_size(width, height)
        check_positive("near_plane", near_plane)
        width, height = int(width), int(height)
        pose = camera_numbers("camera_from_world", camera_from_world, (4, 4))
        scene = SceneStruct()
        scene.count, scene.width, scene.height, scene.sh_degree = self._count, width, height, self._degree
        scene.flags = structs.ANTIALIASED * antialiased | structs.INVERSE_DEPTH * inverse_depth
        scene.set_camera(pose, camera_numbers("intrinsics", intrinsics, (4,)))
        scene.near_plane, scene.scale_modifier = float(near_plane), 1.0
        if background is not None:
            scene.background[:] = camera_numbers("background", background, (3,))
        scene.prepared = PreparedStruct(self._groups.data_ptr(), self._groups.stride(0))
        size = height, width
        rendering = PreparedRendering(torch.empty(3, *size), torch.empty(size), torch.empty(size))
        frame = Frame(self._library)
        frame.forward(scene, OutputsStruct(*map(pointer, rendering), None))
        frame.keep_statistics()
        return rendering


def _in_groups(
    means: torch.Tensor, rotations: torch.Tensor, scales: torch.Tensor, opacities: torch.Tensor, sh: torch.Tensor
) -> torch.Tensor:
    """(groups, bytes) uint8 in the format that kernels.h calls Prepared. The last group is padded with zeros."""
    count, terms = sh.shape[:2]
    axes = rotation_matrices(rotations) * scales[:, None, :]
    colors = 0.5 + _SH_CONSTANT * sh[:, 0]
    # what is not drawn is recognized by numbers in float32: not all kernels know infinities and NaN in half precision
    axes[~drawable_quaternions(rotations)] = math.nan
    colors[~sh.isfinite().flatten(1).all(1)] = math.nan
    floats = torch.cat(
        [
            means,
            axes.transpose(1, 2).reshape(count, 9),
            opacities.log2()[:, None],
            colors,
        ],
        1,
    )
    halves = sh[:, 1:].reshape(count, 3 * (terms - 1)).half()
    groups = -(-count // GROUP)
    float_bytes, half_bytes = 4 * GROUP * _FLOATS, 2 * GROUP * halves.shape[1]
    # every group begins at a cache line
    packed = torch.zeros(groups, -(-(float_bytes + half_bytes) // 64) * 64, dtype=torch.uint8)
    prefer_large_pages(packed)
    for first, numbers in ((0, floats), (float_bytes, halves)):
        width, size = numbers.shape[1], numbers.shape[1] * GROUP * numbers.element_size()
        filled = torch.zeros(groups * GROUP, width, dtype=numbers.dtype)
        filled[:count] = numbers
        lanes = filled.view(groups, GROUP, width).transpose(1, 2).contiguous()
        packed[:, first : first + size] = lanes.view(groups, GROUP * width).view(torch.uint8)
    return packed

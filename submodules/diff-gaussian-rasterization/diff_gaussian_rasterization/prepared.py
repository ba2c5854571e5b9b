"""Gaussians that stay as they are, rendered from many cameras."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from diff_gaussian_rasterization import _library
from diff_gaussian_rasterization._library import (
    GROUP,
    Frame,
    OutputsStruct,
    PreparedStruct,
    SceneStruct,
    library,
    pointer,
)
from diff_gaussian_rasterization.checks import (
    camera_numbers,
    check_gaussian,
    check_harmonics,
    check_means,
    check_positive,
    check_size,
)
from diff_gaussian_rasterization.functional import rasterize
from diff_gaussian_rasterization.torch_splatting import rotation_matrices

#: numbers of a Gaussian that stay float32: mean, axes, logarithm of the opacity, constant colour
_FLOATS = 16
_SH_CONSTANT = 0.28209479177387814


class Image(NamedTuple):
    """What `PreparedGaussians.render` returns."""

    #: (3, H, W) float32, background composited in
    image: torch.Tensor
    #: (H, W) sum of the compositing weights, 1 - transmittance
    alpha: torch.Tensor
    #: (H, W) sum of weight * z; divide by alpha for the expected depth
    depth: torch.Tensor


class PreparedGaussians:
    """Renders the same Gaussians again and again, without gradients and faster than `rasterize`.

    What does not depend on the camera is computed once: activations, the Gaussians' axes, the colour's constant term.
    On the CPU harmonics above it are kept in half precision, which changes colours by some 1e-4 and takes a third off
    the memory that a image reads: 156 bytes for a Gaussian with harmonics of degree 3. On a GPU, and where no kernels
    were compiled, the activated tensors are kept and `rasterize` does the work. Several threads may render at a time.

    Gaussians near each other should be near each other in memory (Morton order).
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
        """Copies of everything, as `rasterize` takes it. ValueError for a wrong shape, type or device."""
        count, where = check_means("means", means)
        check_gaussian("rotations", rotations, (4,), count, where)
        check_gaussian("scales", scales, (3,), count, where)
        check_gaussian("opacities", opacities, (), count, where)
        degree = check_harmonics(sh_coefficients, sh_degree, count, where)
        check_positive("scale_modifier", scale_modifier)
        self._count, self._degree = count, degree
        self._library: Any = library.active
        self._groups: torch.Tensor | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            scales = (scales.exp() if log_scales else scales) * scale_modifier
            opacities = opacities.sigmoid() if opacity_logits else opacities
            harmonics = sh_coefficients[:, : (degree + 1) ** 2]
            if where.type == "cpu" and library.groups:
                self._groups = _in_groups(means, rotations, scales, opacities, harmonics)
            else:
                given = {"means": means, "rotations": rotations, "scales": scales, "opacities": opacities}
                given["sh_coefficients"] = harmonics
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
    ) -> Image:
        """As `rasterize`. Raises ValueError for a wrong shape, type or device, and for settings out of range."""
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
            return Image(*rendering[:3])
        check_size(width, height)
        check_positive("near_plane", near_plane)
        width, height = int(width), int(height)
        pose = camera_numbers("camera_from_world", camera_from_world, (4, 4))
        scene = SceneStruct()
        scene.count, scene.width, scene.height, scene.sh_degree = self._count, width, height, self._degree
        scene.flags = _library.ANTIALIASED * antialiased | _library.INVERSE_DEPTH * inverse_depth
        scene.set_camera(pose, camera_numbers("intrinsics", intrinsics, (4,)))
        scene.near_plane, scene.scale_modifier = float(near_plane), 1.0
        if background is not None:
            scene.background[:] = camera_numbers("background", background, (3,))
        scene.prepared = PreparedStruct(self._groups.data_ptr(), self._groups.stride(0))
        image = Image(torch.empty(3, height, width), torch.empty(height, width), torch.empty(height, width))
        frame = Frame(self._library)
        frame.forward(scene, OutputsStruct(*map(pointer, image), None))
        frame.keep_statistics()
        return image


def _in_groups(
    means: torch.Tensor, rotations: torch.Tensor, scales: torch.Tensor, opacities: torch.Tensor, harmonics: torch.Tensor
) -> torch.Tensor:
    """What the kernels call Prepared: (groups, bytes) uint8; the last group is filled up with what nobody sees."""
    count, terms = harmonics.shape[:2]
    axes = rotation_matrices(rotations) * scales[:, None, :]
    floats = torch.cat(
        [
            means,
            axes.transpose(1, 2).reshape(count, 9),
            opacities.log2()[:, None],
            0.5 + _SH_CONSTANT * harmonics[:, 0],
        ],
        1,
    )
    halves = harmonics[:, 1:].reshape(count, 3 * (terms - 1)).half()
    groups = -(-count // GROUP)
    float_bytes, half_bytes = 4 * GROUP * _FLOATS, 2 * GROUP * halves.shape[1]
    # every group begins with a line of the cache
    packed = torch.zeros(groups, -(-(float_bytes + half_bytes) // 64) * 64, dtype=torch.uint8)
    _library.prefer_large_pages(packed)
    for first, numbers in ((0, floats), (float_bytes, halves)):
        width, size = numbers.shape[1], numbers.shape[1] * GROUP * numbers.element_size()
        filled = torch.zeros(groups * GROUP, width, dtype=numbers.dtype)
        filled[:count] = numbers
        lanes = filled.view(groups, GROUP, width).transpose(1, 2).contiguous()
        packed[:, first : first + size] = lanes.view(groups, GROUP * width).view(torch.uint8)
    return packed

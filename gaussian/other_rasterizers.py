"""Adapters to the rasterizers of other packages, for comparisons: gsplat and the original 3D Gaussian Splatting."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch

from scene.errors import InputError
from scene.installing import pip_line

#: image, alpha, depth and radii as in `gaussian.rasterize.Rasterization`
Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class RasterizerInputs:
    """The arguments of `gaussian.rasterize.rasterize`, with activated scales and opacities."""

    means: torch.Tensor
    rotations: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    sh_coefficients: torch.Tensor | None
    colors: torch.Tensor | None
    camera_from_world: torch.Tensor
    #: (4,) float32
    intrinsics: torch.Tensor
    width: int
    height: int
    #: (3,) float32
    background: torch.Tensor
    sh_degree: int | None
    near_plane: float
    antialiased: bool
    #: (N, 2) offsets of the projected means in pixels, as leaves for their gradients
    screen_means: torch.Tensor | None

    def degree(self) -> int | None:
        """The degree of the spherical harmonics in use; None if colors are given."""
        if self.sh_coefficients is None:
            return None
        return math.isqrt(self.sh_coefficients.shape[1]) - 1 if self.sh_degree is None else self.sh_degree


def rasterize_with_gsplat(inputs: RasterizerInputs) -> Outputs:
    """Rasterizes with gsplat. Raises `InputError` if it is not installed or has no compiled kernels."""
    try:
        from gsplat import rasterization  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f"the backend gsplat is not installed: run {pip_line('gsplat>=1.5', depends_on_torch=True)}"
        ) from error
    backend = sys.modules.get("gsplat.cuda._backend")
    if backend is not None and getattr(backend, "_C", None) is None:
        raise InputError("gsplat could not compile its kernels, for which it needs CUDA's nvcc: use the backend cuda")
    means, pose = inputs.means, inputs.camera_from_world.to(inputs.means)
    fx, fy, cx, cy = inputs.intrinsics.to(means).unbind()
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    matrix = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one]).view(1, 3, 3)
    if inputs.screen_means is not None:
        # gsplat has no offsets on the screen; to first order, an offset there is a shift of the mean
        z = (means @ pose[2, :3] + pose[2, 3]).detach()
        offset = inputs.screen_means / torch.stack([fx, fy]).detach() * z[:, None]
        means = means + offset @ pose[:2, :3].detach()
    images, alphas, info = rasterization(
        means,
        inputs.rotations,
        inputs.scales,
        inputs.opacities,
        inputs.sh_coefficients if inputs.colors is None else inputs.colors,
        pose[None],
        matrix,
        inputs.width,
        inputs.height,
        near_plane=inputs.near_plane,
        sh_degree=inputs.degree() if inputs.colors is None else None,
        render_mode="RGB+D",
        packed=False,
        rasterize_mode="antialiased" if inputs.antialiased else "classic",
    )
    image, alpha, depth = images[0, ..., :3].permute(2, 0, 1), alphas[0, ..., 0], images[0, ..., 3]
    image = image + (1.0 - alpha) * inputs.background.to(means)[:, None, None]
    radii = info["radii"][0]
    return image, alpha, depth, (radii.amax(-1) if radii.ndim == 2 else radii).int()


def rasterize_with_inria(inputs: RasterizerInputs) -> Outputs:
    """Rasterizes with Inria's `diff_gaussian_rasterization`; alpha and depth are NaN, because it has none.

    Raises `InputError` if it is not installed, if our package of that name is installed instead, and for a near plane
    other than 0.01, which is compiled in.
    """
    try:
        import diff_gaussian_rasterization as package
    except ImportError as error:
        raise InputError("the backend inria is not installed: there is no diff_gaussian_rasterization") from error
    if hasattr(package, "rasterize"):
        raise InputError(
            "the backend inria needs the package diff_gaussian_rasterization with CUDA kernels, and ours is installed: "
            "use the backend cpu or gsplat"
        )
    if inputs.near_plane != 0.01:
        raise InputError("the backend inria has its near plane compiled in: leave near_plane alone or use gsplat")
    means, width, height = inputs.means, inputs.width, inputs.height
    fx, fy, cx, cy = inputs.intrinsics.tolist()
    far, near = 100.0, 0.01
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[0, 2] = 2 * fx / width, 2 * cx / width - 1
    projection[1, 1], projection[1, 2] = 2 * fy / height, 2 * cy / height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1.0
    view = inputs.camera_from_world.detach().to(means)
    values: dict[str, Any] = {
        "image_height": height,
        "image_width": width,
        "tanfovx": 0.5 * width / fx,
        "tanfovy": 0.5 * height / fy,
        "bg": inputs.background.to(means),
        "scale_modifier": 1.0,
        "viewmatrix": view.T.contiguous(),
        "projmatrix": (projection.to(means) @ view).T.contiguous(),
        "sh_degree": inputs.degree() or 0,
        "campos": -view[:3, :3].T @ view[:3, 3],
        "prefiltered": False,
        "debug": False,
        "antialiasing": inputs.antialiased,
    }
    # variants of the package differ in the settings that they take
    fields = package.GaussianRasterizationSettings._fields
    settings = package.GaussianRasterizationSettings(**{k: v for k, v in values.items() if k in fields})
    means2d = torch.zeros_like(means)
    if inputs.screen_means is not None:
        # the gradients of this package are per unit of normalized device coordinates
        from_pixels = torch.tensor([2 / width, 2 / height]).to(means)
        means2d = torch.cat([inputs.screen_means * from_pixels, means2d[:, 2:]], 1)
    result = package.GaussianRasterizer(settings)(
        means3D=means,
        means2D=means2d,
        opacities=inputs.opacities[:, None],
        shs=inputs.sh_coefficients,
        colors_precomp=inputs.colors,
        scales=inputs.scales,
        rotations=torch.nn.functional.normalize(inputs.rotations),
    )
    unknown = torch.full((height, width), math.nan, device=means.device)
    return result[0], unknown, unknown, result[1]

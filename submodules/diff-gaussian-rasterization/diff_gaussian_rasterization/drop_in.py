"""Drop-in replacement for the packages named `diff_gaussian_rasterization` that 3D Gaussian Splatting code imports.

These packages agree on the arguments and differ in a few fields of the settings and in the values that a rendering
returns. The fields that a caller sets show which package it was written for:

| fields | written for | returned |
|---|---|---|
| the twelve fields up to `debug` | Kerbl et al. 2023 | color, radii |
| `antialiasing` too | the version of 2024 with antialiasing and sparse Adam | color, radii, invdepth |
| `prefiltered`, not `debug` | the one with depth that dynamic and SLAM code uses | color, radii, depth |
| `projmatrix_raw`, or `theta` and `rho` | the one with pose gradients | color, radii, depth, opacity, n_touched |

For packages that the fields do not identify, such as those that return color, radii, depth and alpha with the twelve
fields, call `set_returns` or set the environment variable STILLSPLAT_RETURNS.
"""

import math
import os
from typing import NamedTuple

import torch
from torch import nn

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization.checks import check_degree, check_gaussian, check_means, check_size, on_cpu
from diff_gaussian_rasterization.functional import Rendering, render
from diff_gaussian_rasterization.structs import RasterSettings

#: values that a rendering can return; `opacity` is another name for `alpha`
RETURNED = ("color", "radii", "depth", "alpha", "opacity", "invdepth", "n_touched")

_returns: tuple[str, ...] | None = None


def set_returns(names: str | None) -> None:
    """Sets what `GaussianRasterizer` returns, for example "color radii depth alpha"; None: it depends on the settings.

    The environment variable STILLSPLAT_RETURNS sets it at import. Raises ValueError for names that are not in RETURNED.
    """
    global _returns
    chosen = None if names is None else tuple(names.replace(",", " ").split())
    unknown = [name for name in chosen or () if name not in RETURNED]
    if unknown or chosen == ():
        raise ValueError(f"a rendering can return {', '.join(RETURNED)}, and not '{names}'")
    _returns = chosen


set_returns(os.environ.get("STILLSPLAT_RETURNS") or None)


class GaussianRasterizationSettings(NamedTuple):
    """Camera and settings of a rendering. Matrices are transposed (they multiply row vectors from the right), as 3DGS
    code passes them, and may have a leading dimension of 1."""

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
    prefiltered: bool | None = None  # has no effect
    debug: bool | None = None  # has no effect
    antialiasing: bool | None = None
    projmatrix_raw: torch.Tensor | None = None  # has no effect: the other two matrices determine it
    near_plane: float = 0.01


class GaussianRasterizer(nn.Module):
    """Renders one image: `image, radii = GaussianRasterizer(settings)(means3D, means2D, opacities, shs=...)`."""

    def __init__(self, raster_settings: GaussianRasterizationSettings) -> None:
        super().__init__()
        self.raster_settings = raster_settings

    def markVisible(self, positions: torch.Tensor) -> torch.Tensor:
        """(N,) bool: which points (N, 3) in the world lie beyond the near plane."""
        settings = self.raster_settings
        return mark_visible(positions, settings.viewmatrix, settings.near_plane)

    def forward(
        self,
        means3D: torch.Tensor,
        means2D: torch.Tensor | None,
        opacities: torch.Tensor,
        shs: torch.Tensor | None = None,
        colors_precomp: torch.Tensor | None = None,
        scales: torch.Tensor | None = None,
        rotations: torch.Tensor | None = None,
        cov3D_precomp: torch.Tensor | None = None,
        theta: torch.Tensor | None = None,
        rho: torch.Tensor | None = None,
        dc: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Renders; the module's docstring lists which of these values are returned:

        - `color` (3, H, W), `radii` (N,) int32
        - `depth` (1, H, W): sum of weight * z; divided by `alpha` (1, H, W) it is the expected depth
        - `invdepth` (1, H, W): sum of weight / z; together with `depth` it takes a second rendering
        - `n_touched` (N,) int32: sum of the weights of each Gaussian over the image, rounded; takes a second rendering.
          The original counts the pixels at which the transmittance behind the Gaussian is above 0.5.

        The gradient of `means2D` (N, 3) is in units of half the image. `rho` and `theta` (3,) are a translation and a
        rotation applied after camera_from_world, as exp([rho, theta]) @ camera_from_world; only their gradients matter,
        their values are taken as 0. `dc` (N, 1, 3) are the coefficients of degree 0, if `shs` does not contain them.
        """
        returned = _returns
        if returned is None:
            returned = _returned_for(self.raster_settings, theta is not None or rho is not None)
        settings, gaussians, camera = self._prepare(
            means3D, means2D, opacities, shs, colors_precomp, scales, rotations, cov3D_precomp, theta, rho, dc
        )
        inverse = "invdepth" in returned and "depth" not in returned
        if inverse:
            settings = settings._replace(flags=settings.flags | structs.INVERSE_DEPTH)
        rendering = render(settings, gaussians, camera)
        values = {
            "color": rendering.image,
            "radii": rendering.radii,
            "depth": rendering.depth[None],
            "alpha": rendering.alpha[None],
            "opacity": rendering.alpha[None],
        }
        if inverse:
            values["invdepth"] = rendering.depth[None]
        elif "invdepth" in returned:
            values["invdepth"] = _inverse_depth(settings, gaussians, camera)
        if "n_touched" in returned:
            values["n_touched"] = _sum_of_weights(settings, gaussians, camera)
        return tuple(values[name] for name in returned)

    def render(self, *gaussians: torch.Tensor | None, **named_gaussians: torch.Tensor | None) -> Rendering:
        """Renders with the arguments of `forward`, but always returns image, alpha (H, W), depth (H, W) and radii."""
        return render(*self._prepare(*gaussians, **named_gaussians))

    def _prepare(
        self, means3D, means2D, opacities, shs=None, colors_precomp=None, scales=None, rotations=None,
        cov3D_precomp=None, theta=None, rho=None, dc=None,
    ) -> tuple[RasterSettings, tuple[torch.Tensor | None, ...], tuple[torch.Tensor, ...]]:  # fmt: skip
        """The arguments of `functional.render`, checked."""
        settings = self.raster_settings
        shs, colors_precomp, scales, rotations, cov3D_precomp, theta, rho, dc = (
            None if t is None or (t.ndim == 1 and t.numel() == 0) else t
            for t in (shs, colors_precomp, scales, rotations, cov3D_precomp, theta, rho, dc)
        )
        if (shs is None) == (colors_precomp is None):
            raise ValueError("please provide exactly one of SHs and precomputed colors")
        if ((scales is None or rotations is None) and cov3D_precomp is None) or (
            (scales is not None or rotations is not None) and cov3D_precomp is not None
        ):
            raise ValueError("please provide exactly one of a scale/rotation pair and a precomputed 3D covariance")
        count, where = check_means("means3D", means3D)
        if means2D is not None:
            check_gaussian("means2D", means2D, tuple(means2D.shape[1:]), count, where)
            if means2D.ndim != 2 or means2D.shape[1] < 2:
                raise ValueError(f"means2D must have shape ({count}, 3), not {tuple(means2D.shape)}")
        if opacities.ndim == 2 and opacities.shape[1] == 1:
            opacities = opacities[:, 0]
        check_gaussian("opacities", opacities, (), count, where)
        degree = 0
        if shs is not None:
            if dc is not None:
                check_gaussian("dc", dc, (1, 3), count, where)
                shs = torch.cat([dc, shs], 1)
            if shs.ndim != 3:
                raise ValueError(f"shs must have shape (N, K, 3), not {tuple(shs.shape)}")
            check_gaussian("shs", shs, (shs.shape[1], 3), count, where)
            degree = check_degree(settings.sh_degree, shs.shape[1])
        if colors_precomp is not None:
            check_gaussian("colors_precomp", colors_precomp, (3,), count, where)
        if cov3D_precomp is not None:
            check_gaussian("cov3D_precomp", cov3D_precomp, (6,), count, where)
        elif scales is not None and rotations is not None:
            check_gaussian("scales", scales, (3,), count, where)
            check_gaussian("rotations", rotations, (4,), count, where)
        width, height = settings.image_width, settings.image_height
        check_size(width, height)
        pose = _matrix("viewmatrix", settings.viewmatrix).T
        intrinsics = _intrinsics(settings, pose.detach())
        flags = structs.ANTIALIASED * bool(settings.antialiasing)
        center = None
        if theta is None and rho is None:
            center = tuple(on_cpu("campos", settings.campos.reshape(-1), (3,)).tolist())
        else:
            pose = _with_tangent(pose, theta, rho)
            flags |= structs.CENTER_FROM_POSE
        near_plane, scale_modifier = float(settings.near_plane), float(settings.scale_modifier)
        raster_settings = RasterSettings(
            int(width), int(height), degree, flags, near_plane, scale_modifier, center, screen_in_ndc=True
        )
        gaussians = (means3D, rotations, scales, opacities, shs, colors_precomp, cov3D_precomp, means2D)
        return raster_settings, gaussians, (pose, intrinsics, on_cpu("bg", settings.bg, (3,)))


def rasterize_gaussians(
    means3D: torch.Tensor,
    means2D: torch.Tensor | None,
    sh: torch.Tensor | None,
    colors_precomp: torch.Tensor | None,
    opacities: torch.Tensor,
    scales: torch.Tensor | None,
    rotations: torch.Tensor | None,
    cov3Ds_precomp: torch.Tensor | None,
    raster_settings: GaussianRasterizationSettings,
) -> tuple[torch.Tensor, ...]:
    """The original's function of this name: `GaussianRasterizer(raster_settings)(...)`. Empty tensors mean None."""
    return GaussianRasterizer(raster_settings)(
        means3D, means2D, opacities, sh, colors_precomp, scales, rotations, cov3Ds_precomp
    )


def mark_visible(positions: torch.Tensor, viewmatrix: torch.Tensor, near_plane: float = 0.01) -> torch.Tensor:
    """(N,) bool: which points (N, 3) lie beyond the near plane of a transposed camera_from_world (4, 4)."""
    with torch.no_grad():
        view = viewmatrix.reshape(4, 4).to(positions)
        return positions @ view[:3, 2] + view[3, 2] > near_plane


def _returned_for(settings: GaussianRasterizationSettings, pose_gradients: bool) -> tuple[str, ...]:
    """What the package that the caller was written for returns."""
    if pose_gradients or settings.projmatrix_raw is not None:
        return "color", "radii", "depth", "opacity", "n_touched"
    if settings.antialiasing is not None:
        return "color", "radii", "invdepth"
    if settings.prefiltered is not None and settings.debug is None:
        return "color", "radii", "depth"
    return "color", "radii"


def _inverse_depth(settings: RasterSettings, gaussians, camera) -> torch.Tensor:
    """(1, H, W) sum of weight / z."""
    means = gaussians[0]
    pose = camera[0].to(means.device)
    # clamped, so that Gaussians before the near plane, which are culled, do not divide by zero
    z = (means @ pose[2, :3] + pose[2, 3]).clamp(min=settings.near_plane)
    return _render_values(settings, gaussians, camera, 1.0 / z).image[:1]


def _sum_of_weights(settings: RasterSettings, gaussians, camera) -> torch.Tensor:
    """(N,) int32: the sum over the image of each Gaussian's weights, rounded.

    The image is linear in the colors, so this is the gradient of its sum to a Gaussian's color.
    """
    one = torch.ones_like(gaussians[0][:, 0]).detach().requires_grad_()
    gaussians = [None if tensor is None else tensor.detach() for tensor in gaussians]
    with torch.enable_grad():
        image = _render_values(settings, gaussians, (camera[0].detach(), *camera[1:]), one).image
        (weights,) = torch.autograd.grad(image[0].sum(), one)
    return weights.round().int()


def _render_values(settings: RasterSettings, gaussians, camera, values: torch.Tensor) -> Rendering:
    """Renders one value (N,) per Gaussian as its color, over black."""
    means, rotations, scales, opacities, _, _, covariances, _ = gaussians
    colors = values[:, None].expand(-1, 3)
    camera = (*camera[:2], torch.zeros_like(camera[2]))
    return render(settings, (means, rotations, scales, opacities, None, colors, covariances, None), camera)


def _matrix(name: str, value: torch.Tensor) -> torch.Tensor:
    return on_cpu(name, value[0] if value.ndim == 3 and len(value) == 1 else value, (4, 4))


def _with_tangent(pose: torch.Tensor, theta: torch.Tensor | None, rho: torch.Tensor | None) -> torch.Tensor:
    """`pose`, with the gradient of exp([rho, theta]) @ pose at rho = theta = 0."""
    t = torch.zeros(3) if rho is None else rho.reshape(3).to("cpu", torch.float32)
    r = torch.zeros(3) if theta is None else theta.reshape(3).to("cpu", torch.float32)
    t, (x, y, z), zero = t - t.detach(), (r - r.detach()).unbind(), torch.zeros(())
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    tangent = torch.cat([torch.cat([cross, t[:, None]], 1), torch.zeros(1, 4)])
    return pose + tangent @ pose


def _intrinsics(settings: GaussianRasterizationSettings, pose: torch.Tensor) -> torch.Tensor:
    """fx, fy, cx, cy in pixels, from the projection matrix, which also contains a principal point off the center."""
    full = _matrix("projmatrix", settings.projmatrix).detach().T.double()
    projection = torch.linalg.solve(pose.double().T, full.T).T.tolist()  # full @ inverse(pose)
    w = projection[3][2]
    if not math.isfinite(w) or abs(w) < 1e-6:
        raise ValueError("projmatrix must be a perspective projection times the view, transposed")
    half_width, half_height = 0.5 * settings.image_width, 0.5 * settings.image_height
    return on_cpu(
        "intrinsics",
        (
            projection[0][0] / w * half_width,
            projection[1][1] / w * half_height,
            (projection[0][2] / w + 1.0) * half_width,
            (projection[1][2] / w + 1.0) * half_height,
        ),
        (4,),
    )

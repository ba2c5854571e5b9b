"""The interfaces that code around 3D Gaussian Splatting is written for.

There are several packages named `diff_gaussian_rasterization`. They agree on the arguments and differ in a few fields
of the settings and in what a rendering returns. Code says which one it was written for by the fields that it gives:

| given | written for | returned |
|---|---|---|
| the twelve fields up to `debug` | Kerbl et al. 2023 | color, radii |
| `antialiasing` too | the version of 2024 with antialiasing and sparse Adam | color, radii, invdepth |
| `prefiltered`, not `debug` | the one with depth that dynamic and SLAM code uses | color, radii, depth |
| `projmatrix_raw`, or `theta` and `rho` | the one with pose gradients | color, radii, depth, opacity, n_touched |

What the fields cannot say, such as color, radii, depth and alpha with the twelve fields, `set_returns` or the
environment variable STILLSPLAT_RETURNS does.
"""

import math
import os
from typing import NamedTuple

import torch
from torch import nn

from diff_gaussian_rasterization import _library
from diff_gaussian_rasterization.checks import check_gaussian, check_means, check_size, on_cpu
from diff_gaussian_rasterization.functional import Rendering, _Settings, project_gradient_in_ndc

#: what a rendering can return, by name; `opacity` is another word for `alpha`
RETURNED = ("color", "radii", "depth", "alpha", "opacity", "invdepth", "n_touched")

_returns: tuple[str, ...] | None = None


def set_returns(names: str | None) -> None:
    """What `GaussianRasterizer` returns from now on, as "color radii depth alpha"; None: what the settings say.

    The environment variable STILLSPLAT_RETURNS does it at import. The names are those of RETURNED.

    Raises ValueError for other names.
    """
    global _returns
    chosen = None if names is None else tuple(names.replace(",", " ").split())
    unknown = [name for name in chosen or () if name not in RETURNED]
    if unknown or chosen == ():
        raise ValueError(f"a rendering can return {', '.join(RETURNED)}, and not '{names}'")
    _returns = chosen


set_returns(os.environ.get("STILLSPLAT_RETURNS") or None)


class GaussianRasterizationSettings(NamedTuple):
    """A view. Matrices are transposed (they multiply row vectors from the right), as 3DGS code passes them, and may
    have a dimension of 1 in front."""

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
    prefiltered: bool | None = None  # has no effect, like the next
    debug: bool | None = None
    antialiasing: bool | None = None
    projmatrix_raw: torch.Tensor | None = None  # has no effect: it follows from the two others
    near_plane: float = 0.01


class GaussianRasterizer(nn.Module):
    """Renders one view: `image, radii = GaussianRasterizer(settings)(means3D, means2D, opacities, shs=...)`."""

    def __init__(self, raster_settings: GaussianRasterizationSettings) -> None:
        super().__init__()
        self.raster_settings = raster_settings

    def markVisible(self, positions: torch.Tensor) -> torch.Tensor:
        """(N,) bool: which points lie beyond the near plane."""
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
        """What the settings stand for (see the module), by name:

        - `color` (3, H, W), `radii` (N,) int32
        - `depth` (1, H, W): sum of weight * z, which divided by `alpha` (1, H, W) is the expected depth
        - `invdepth` (1, H, W): sum of weight / z; with `depth` beside it a second rendering
        - `n_touched` (N,) int32: the sum of a Gaussian's weights in whole pixels; a second rendering. The original
          counts pixels behind which the transmittance is over one half.

        The gradient of `means2D` (N, 3) is in units of half the image. `rho` and `theta` (3,) are a small translation
        and rotation that go before camera_from_world, as exp([rho, theta]) @ camera_from_world: their values are taken
        for 0, and only their gradients count. `dc` (N, 1, 3) are harmonics that `shs` lacks.
        """
        wanted = _returns
        if wanted is None:
            wanted = _wanted(self.raster_settings, theta is not None or rho is not None)
        gaussians, camera, numbers = self._prepare(
            means3D, means2D, opacities, shs, colors_precomp, scales, rotations, cov3D_precomp, theta, rho, dc
        )
        inverse = "invdepth" in wanted and "depth" not in wanted
        if inverse:
            numbers = numbers._replace(flags=numbers.flags | _library.INVERSE_DEPTH)
        rendering = project_gradient_in_ndc(*gaussians, camera=camera, settings=numbers)
        values = {
            "color": rendering.image,
            "radii": rendering.radii,
            "depth": rendering.depth[None],
            "alpha": rendering.alpha[None],
            "opacity": rendering.alpha[None],
        }
        if inverse:
            values["invdepth"] = rendering.depth[None]
        elif "invdepth" in wanted:
            values["invdepth"] = _inverse_depth(gaussians, camera, numbers)
        if "n_touched" in wanted:
            values["n_touched"] = _touched(gaussians, camera, numbers)
        return tuple(values[name] for name in wanted)

    def render(
        self,
        means3D: torch.Tensor,
        means2D: torch.Tensor | None,
        opacities: torch.Tensor,
        shs: torch.Tensor | None = None,
        colors_precomp: torch.Tensor | None = None,
        scales: torch.Tensor | None = None,
        rotations: torch.Tensor | None = None,
        cov3D_precomp: torch.Tensor | None = None,
    ) -> Rendering:
        """Our own names for it: image, alpha (H, W), depth (H, W) and radii, whatever `forward` returns."""
        gaussians, camera, numbers = self._prepare(
            means3D, means2D, opacities, shs, colors_precomp, scales, rotations, cov3D_precomp
        )
        return project_gradient_in_ndc(*gaussians, camera=camera, settings=numbers)

    def _prepare(
        self, means3D, means2D, opacities, shs, colors_precomp, scales, rotations, cov3D_precomp, theta=None, rho=None,
        dc=None,
    ):  # fmt: skip
        """The arguments of `project_gradient_in_ndc`, checked."""
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
            degree = int(settings.sh_degree)
            if not 0 <= degree <= 3 or (degree + 1) ** 2 > shs.shape[1]:
                raise ValueError(f"sh_degree must be 0 to 3 and fit the {shs.shape[1]} coefficients, not {degree}")
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
        flags = _library.ANTIALIASED * bool(settings.antialiasing)
        center = None
        if theta is None and rho is None:
            center = tuple(on_cpu("campos", settings.campos.reshape(-1), (3,)).tolist())
        else:
            pose = _moved(pose, theta, rho)
            flags |= _library.CENTER_FROM_POSE
        numbers = _Settings(
            int(width), int(height), degree, flags, float(settings.near_plane), float(settings.scale_modifier)
        )
        camera = (pose, intrinsics, on_cpu("bg", settings.bg, (3,)), center)
        return (means3D, means2D, rotations, scales, opacities, shs, colors_precomp, cov3D_precomp), camera, numbers


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
    """The function of that name: `GaussianRasterizer(raster_settings)` called; empty tensors stand for None."""
    return GaussianRasterizer(raster_settings)(
        means3D, means2D, opacities, sh, colors_precomp, scales, rotations, cov3Ds_precomp
    )


def mark_visible(positions: torch.Tensor, viewmatrix: torch.Tensor, near_plane: float = 0.01) -> torch.Tensor:
    """(N,) bool: which points (N, 3) lie beyond the near plane of a view (4, 4), transposed."""
    with torch.no_grad():
        view = viewmatrix.reshape(4, 4).to(positions)
        return positions @ view[:3, 2] + view[3, 2] > near_plane


def _wanted(settings: GaussianRasterizationSettings, moving: bool) -> tuple[str, ...]:
    if moving or settings.projmatrix_raw is not None:
        return "color", "radii", "depth", "opacity", "n_touched"
    if settings.antialiasing is not None:
        return "color", "radii", "invdepth"
    if settings.prefiltered is not None and settings.debug is None:
        return "color", "radii", "depth"
    return "color", "radii"


def _inverse_depth(gaussians, camera, numbers: _Settings) -> torch.Tensor:
    means, _, rotations, scales, opacities, _, _, covariances = gaussians
    pose = camera[0].to(means.device)
    # what the near plane leaves out must not divide by zero
    z = (means @ pose[2, :3] + pose[2, 3]).clamp(min=numbers.near_plane)
    return _with_colors(means, rotations, scales, opacities, covariances, 1.0 / z, camera, numbers).image[:1]


def _touched(gaussians, camera, numbers: _Settings) -> torch.Tensor:
    """The image of colours is linear in them: its gradient to a Gaussian's is the sum of its weights."""
    means, _, rotations, scales, opacities, _, _, covariances = (None if t is None else t.detach() for t in gaussians)
    camera = camera[0].detach(), camera[1], camera[2], camera[3]
    with torch.enable_grad():
        one = torch.ones_like(means[:, 0]).requires_grad_()
        image = _with_colors(means, rotations, scales, opacities, covariances, one, camera, numbers).image
        (weights,) = torch.autograd.grad(image[0].sum(), one)
    return weights.round().int()


def _with_colors(means, rotations, scales, opacities, covariances, values, camera, numbers: _Settings) -> Rendering:
    """The image of one value (N,) for each Gaussian, before black."""
    pose, intrinsics, back, center = camera
    camera = (pose, intrinsics, torch.zeros_like(back), center)
    colors = values[:, None].expand(-1, 3)
    return project_gradient_in_ndc(
        means, None, rotations, scales, opacities, None, colors, covariances, camera=camera, settings=numbers
    )


def _matrix(name: str, value: torch.Tensor) -> torch.Tensor:
    return on_cpu(name, value[0] if value.ndim == 3 and len(value) == 1 else value, (4, 4))


def _moved(pose: torch.Tensor, theta: torch.Tensor | None, rho: torch.Tensor | None) -> torch.Tensor:
    """`pose`, with the gradient that exp([rho, theta]) @ pose has where both are 0."""
    nothing = torch.zeros(3)
    t = nothing if rho is None else rho.reshape(3).to("cpu", torch.float32)
    r = nothing if theta is None else theta.reshape(3).to("cpu", torch.float32)
    t, (x, y, z), zero = t - t.detach(), (r - r.detach()).unbind(), torch.zeros(())
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    tangent = torch.cat([torch.cat([cross, t[:, None]], 1), torch.zeros(1, 4)])
    return pose + tangent @ pose


def _intrinsics(settings: GaussianRasterizationSettings, pose: torch.Tensor) -> torch.Tensor:
    """fx, fy, cx, cy in pixels out of the projection matrix, so that principal points off the centre work."""
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

"""Splatting in plain PyTorch, for installations without the compiled kernels: slow, with the same results.

Gaussians are projected in float64. Tiles of 16x16 pixels are composited in float32, one after the other, which limits
the memory. The formulas are those of the kernels (Zwicker et al. 2001; Kerbl et al. 2023); the gradients of each tile
are computed by autograd.
"""

import math
from typing import NamedTuple

import torch

TILE = 16
_ALPHA_CUT, _ALPHA_MAX, _TRANSMITTANCE_STOP = 1 / 255, 0.99, 1e-4
_DILATION, _COMPENSATION_FLOOR = 0.3, 2.5e-5
_QUATERNION_SHORTEST, _QUATERNION_LONGEST, _LARGEST = 1e-15, 1e15, 1e30


class View(NamedTuple):
    """Camera and settings of a rendering; tensors are float64."""

    width: int
    height: int
    sh_degree: int
    near_plane: float
    scale_modifier: float
    log_scales: bool
    opacity_logits: bool
    antialiased: bool
    center_from_pose: bool
    inverse_depth: bool
    pose: torch.Tensor  # (3, 4), camera_from_world
    intrinsics: torch.Tensor  # (4,)
    center: torch.Tensor  # (3,)
    background: torch.Tensor  # (3,)


class Splats(NamedTuple):
    """Projected Gaussians."""

    fields: torch.Tensor  # (N, 10) float64: center, factors of the conic, opacity, color, z or 1 / z
    half_extents: torch.Tensor  # (N, 2) half extents in pixels of the ellipse where alpha is 1/255
    largest_variance: torch.Tensor  # (N,) square pixels
    valid: torch.Tensor  # (N,) bool: beyond the near plane, finite, and with an alpha that reaches 1/255


class Pairs(NamedTuple):
    """The splats that touch each tile, from front to back."""

    visible: torch.Tensor  # (M,) indices of the visible Gaussians, ascending
    splat: torch.Tensor  # (P,) indices into `visible`, by tile
    tile_start: list[int]  # where the splats of each tile begin, and P


def project(gaussians: dict[str, torch.Tensor], view: View) -> Splats:
    """Projects Gaussians: float64 tensors (N, ...) with the names of SceneStruct. Differentiable where `valid`."""
    means = gaussians["means"]
    rotation, translation = view.pose[:, :3], view.pose[:, 3]
    fx, fy, cx, cy = view.intrinsics.unbind()
    point = means @ rotation.T + translation
    z = point[:, 2]
    valid = (z > view.near_plane) & (z < 3e38)
    u, v = point[:, 0] / z, point[:, 1] / z
    margin_x, margin_y = 0.15 * view.width, 0.15 * view.height
    u_limits = -(cx + margin_x) / fx, (view.width + margin_x - cx) / fx
    v_limits = -(cy + margin_y) / fy, (view.height + margin_y - cy) / fy
    uc = torch.maximum(torch.minimum(u, u_limits[1]), u_limits[0])
    vc = torch.maximum(torch.minimum(v, v_limits[1]), v_limits[0])
    t1 = (fx / z)[:, None] * (rotation[0] - uc[:, None] * rotation[2])
    t2 = (fy / z)[:, None] * (rotation[1] - vc[:, None] * rotation[2])
    if "covariances" in gaussians:
        c = gaussians["covariances"][:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].view(-1, 3, 3)
        v1, v2 = (c @ t1[:, :, None])[..., 0], (c @ t2[:, :, None])[..., 0]
        xx, xy, yy = (t1 * v1).sum(1), (t1 * v2).sum(1), (t2 * v2).sum(1)
        raw = xx * yy - xy * xy
    else:
        scales = gaussians["scales"].exp() if view.log_scales else gaussians["scales"]
        axes = rotation_matrices(gaussians["rotations"]) * (view.scale_modifier * scales)[:, None, :]
        m1, m2 = (t1[:, None] @ axes)[:, 0], (t2[:, None] @ axes)[:, 0]
        xx, xy, yy = (m1 * m1).sum(1), (m1 * m2).sum(1), (m2 * m2).sum(1)
        raw = torch.linalg.cross(m1, m2).square().sum(1)  # avoids the cancellation of xx yy - xy^2
    determinant = raw + _DILATION * (xx + yy) + _DILATION**2
    xx, yy = xx + _DILATION, yy + _DILATION
    opacity = gaussians["opacities"]
    if view.opacity_logits:
        opacity = opacity.sigmoid()
    if view.antialiased:
        opacity = opacity * (raw / determinant).clamp(min=_COMPENSATION_FLOOR).sqrt()
    x, y = fx * u + cx, fy * v + cy
    if "screen_means" in gaussians:
        x, y = x + gaussians["screen_means"][:, 0], y + gaussians["screen_means"][:, 1]
    color = gaussians["colors"] if "colors" in gaussians else _color(gaussians["sh"], means, view)
    # the conic as a product L L^T: its quadratic form is then a sum of squares, without cancellation for needles
    factors = (yy / determinant).sqrt(), -xy / (yy * determinant).sqrt(), 1 / yy.sqrt()
    depth = 1 / z if view.inverse_depth else z
    shown = color if "colors" in gaussians else color.clamp(min=0)
    fields = torch.cat([torch.stack([x, y, *factors, opacity], 1), shown, depth[:, None]], 1)
    with torch.no_grad():
        valid &= (determinant > 0) & (xx > 0) & (yy > 0) & (opacity >= _ALPHA_CUT)
        for value in (determinant, xx, yy, x.abs(), y.abs(), opacity, color.abs().amax(1)):
            valid &= value < _LARGEST  # false for NaN
        if "rotations" in gaussians:
            valid &= drawable_quaternions(gaussians["rotations"])
        reach = 2 * (opacity / _ALPHA_CUT).clamp(min=1).log() * (1 + 1e-5) + 1e-5
        half_extents = torch.stack([(reach * xx).sqrt(), (reach * yy).sqrt()], 1)
        mid, difference = 0.5 * (xx + yy), 0.5 * (xx - yy)
        largest = mid + (difference * difference + xy * xy).sqrt()
    return Splats(fields, half_extents, largest, valid)


def rotation_matrices(quaternions: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3) rotation matrices of quaternions (N, 4) wxyz of any length."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, eps=0.0).unbind(1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, 1).view(-1, 3, 3)


def drawable_quaternions(quaternions: torch.Tensor) -> torch.Tensor:
    """(N,) bool: whether the lengths of quaternions (N, 4) are in the range that the kernels can normalize."""
    squared_length = quaternions.square().sum(1)
    return (squared_length > _QUATERNION_SHORTEST**2) & (squared_length < _QUATERNION_LONGEST**2)


def _color(sh: torch.Tensor, means: torch.Tensor, view: View) -> torch.Tensor:
    """(N, 3) colors before the clamp at 0."""
    center = -view.pose[:, :3].T @ view.pose[:, 3] if view.center_from_pose else view.center
    offset = means - center
    direction = offset / offset.square().sum(1, keepdim=True).clamp(min=1e-30).sqrt()
    basis = _spherical_harmonics(view.sh_degree, direction)
    return 0.5 + (basis[:, :, None] * sh[:, : basis.shape[1]]).sum(1)


def _spherical_harmonics(degree: int, direction: torch.Tensor) -> torch.Tensor:
    """(N, (degree + 1)^2) real spherical harmonics of unit directions (N, 3), with the signs of 3DGS files."""
    x, y, z = direction.unbind(1)
    basis = [torch.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree > 0:
        a = math.sqrt(0.75 / math.pi)
        basis += [-a * y, a * z, -a * x]
    if degree > 1:
        a, b = math.sqrt(3.75 / math.pi), math.sqrt(0.3125 / math.pi)
        basis += [a * x * y, -a * y * z, b * (3 * z * z - 1), -a * x * z, 0.5 * a * (x * x - y * y)]
    if degree > 2:
        a, b = math.sqrt(35 / (32 * math.pi)), math.sqrt(26.25 / math.pi)
        c, d = math.sqrt(21 / (32 * math.pi)), math.sqrt(7 / (16 * math.pi))
        basis += [-a * y * (3 * x * x - y * y), b * x * y * z, -c * y * (5 * z * z - 1), d * z * (5 * z * z - 3)]
        basis += [-c * x * (5 * z * z - 1), 0.5 * b * z * (x * x - y * y), -a * x * (x * x - 3 * y * y)]
    return torch.stack(basis, 1)


def pairs(splats: Splats, view: View) -> Pairs:
    """Lists, for every tile, the splats whose bounding box touches it."""
    centers = splats.fields[:, :2] - 0.5  # from here on pixel centers are at integers
    low = (centers - splats.half_extents).ceil().clamp(min=0)
    size = torch.tensor([view.width, view.height], dtype=torch.float64)
    high = torch.minimum((centers + splats.half_extents).floor(), size - 1)
    visible = (splats.valid & (high >= low).all(1)).nonzero()[:, 0]
    first, last = ((value[visible] / TILE).floor().long() for value in (low, high))
    # from front to back, ties by index
    depth = splats.fields[visible, 9]
    order = torch.argsort((1 / depth if view.inverse_depth else depth).float(), stable=True)
    first, wide, tall = first[order], *(last - first + 1)[order].unbind(1)
    splat = torch.repeat_interleave(order, wide * tall)
    start = torch.repeat_interleave((wide * tall).cumsum(0) - wide * tall, wide * tall)
    own = torch.arange(len(splat)) - start
    wide, corner = torch.repeat_interleave(wide, wide * tall), torch.repeat_interleave(first, wide * tall, 0)
    tiles_x, tiles_y = -(-view.width // TILE), -(-view.height // TILE)
    tile = (corner[:, 1] + own // wide) * tiles_x + corner[:, 0] + own % wide
    by_tile = torch.argsort(tile, stable=True)
    counts = torch.bincount(tile, minlength=tiles_x * tiles_y)
    return Pairs(visible, splat[by_tile], [0, *counts.cumsum(0).tolist()])


def tile_pixels(tile: int, view: View) -> tuple[slice, slice]:
    """Rows and columns of the image that belong to a tile."""
    row, column = divmod(tile, -(-view.width // TILE))
    return (
        slice(row * TILE, min((row + 1) * TILE, view.height)),
        slice(column * TILE, min((column + 1) * TILE, view.width)),
    )


def composite(fields: torch.Tensor, rows: slice, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Composites splats `fields` (K, 10), float32, from front to back over the P pixels of a tile.

    Returns the sums of weight times (color, depth, 1), (5, P), and the remaining transmittance (P,). Splats are
    processed in batches until all pixels are finished.
    """
    y, x = torch.meshgrid(
        torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5, indexing="ij"
    )
    x, y = x.reshape(-1), y.reshape(-1)
    sums, transmittance = fields.new_zeros(5, len(x)), fields.new_ones(len(x))
    alive = torch.ones(len(x), dtype=torch.bool)
    for batch in fields.split(128) if len(fields) else ():
        dx, dy = x - batch[:, :1], y - batch[:, 1:2]
        across, along = batch[:, 2:3] * dx + batch[:, 3:4] * dy, batch[:, 4:5] * dy
        alpha = (batch[:, 5:6] * torch.exp(-0.5 * (across * across + along * along))).clamp(max=_ALPHA_MAX)
        alpha = torch.where(alpha >= _ALPHA_CUT, alpha, 0.0)
        behind = torch.cat([transmittance[None], transmittance * torch.cumprod(1 - alpha, 0)])
        # a pixel is finished before the first splat that would bring its transmittance below the limit
        on = alive & (behind[1:] >= _TRANSMITTANCE_STOP)
        weight = torch.where(on, alpha * behind[:-1], 0.0)
        sums = sums + torch.cat([batch[:, 6:], torch.ones_like(batch[:, :1])], 1).T @ weight
        transmittance = behind.gather(0, on.sum(0, keepdim=True))[0]
        alive = alive & on[-1]
        if not alive.any():
            break
    return sums, transmittance

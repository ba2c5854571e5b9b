"""From the raw numbers of the Gaussian head to Gaussians in the world: one per pixel."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.cameras import inverse_rigid, rotation_from_xyzw, xyzw_from_rotation
from dynamic_predictor.depth_anything3.pose_alignment import relative_scale

_SMALLEST_SCALE, _LARGEST_SCALE = 1e-5, 30.0
#: how much of each degree of the raw spherical harmonics counts
_DEGREE_GAIN = (1.0, 0.025, 0.00625)


@dataclass
class Gaussians:
    """N Gaussians in each of B scenes, over views, rows and columns, in the world of the cameras.

    `means` (B, N, 3), `scales` (B, N, 3) standard deviations, `rotations` (B, N, 4) quaternions wxyz, `sh_coefficients`
    (B, N, 3, 9) of real spherical harmonics up to degree 2 per color, in the basis of 3D Gaussian splatting, and
    `opacities` (B, N) in [0, 1].
    """

    means: Tensor
    scales: Tensor
    rotations: Tensor
    sh_coefficients: Tensor
    opacities: Tensor

    def scaled(self, factors: Tensor) -> "Gaussians":
        """The same scenes, each enlarged about its origin by its factor of `factors` (B,)."""
        by_scene = factors[:, None, None]
        return Gaussians(
            self.means * by_scene, self.scales * by_scene, self.rotations, self.sh_coefficients, self.opacities
        )


def gaussians_from_pixels(
    raw: Tensor,
    opacity: Tensor,
    depth: Tensor,
    camera_from_world: Tensor,
    intrinsics: Tensor,
    *,
    known_cameras: Tensor | None = None,
) -> Gaussians:
    """Gaussians of `raw` parameters (B, S, H, W, 37), `opacity` and `depth` (B, S, H, W), seen by the cameras
    `camera_from_world` (B, S, 3 or 4, 4) with `intrinsics` (B, S, 3, 3) in pixels.

    Raw are: offset in pixels 2, scale 3, quaternion 4, harmonics 27, offset in depth 1. The depth counts along the ray,
    as the head was trained, although elsewhere it is along z. With `known_cameras` (B, S, 4, 4) the scene takes their
    scale, at most three times up or down.
    """
    batch, views, height, width = depth.shape
    offset, scale, quaternion, harmonics, depth_offset = raw.split([2, 3, 4, 27, 1], dim=-1)
    world_from_camera = inverse_rigid(camera_from_world)
    rotation, center = world_from_camera[..., :3, :3], world_from_camera[..., :3, 3]
    distance = depth + depth_offset[..., 0]
    if known_cameras is not None:
        factors = depth.new_tensor(
            [
                relative_scale(known.double().cpu().numpy(), predicted.double().cpu().numpy())
                for known, predicted in zip(known_cameras, camera_from_world, strict=True)
            ]
        ).clamp(1.0 / 3.0, 3.0)
        center = center * factors[:, None, None]
        distance = distance * factors[:, None, None, None]
    inverse = torch.linalg.inv(intrinsics)
    u = torch.arange(width, device=raw.device) + 0.5 + offset[..., 0]
    v = (torch.arange(height, device=raw.device) + 0.5)[:, None] + offset[..., 1]
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1)
    directions = torch.nn.functional.normalize(torch.einsum("bsij,bshwj->bshwi", rotation @ inverse, pixels), dim=-1)
    means = center[:, :, None, None] + directions * distance[..., None]
    # a tenth of a pixel's width and height together, on the plane at depth one
    pixel = 0.1 * inverse[..., :2, :2].sum(dim=(-1, -2))
    span = _SMALLEST_SCALE + (_LARGEST_SCALE - _SMALLEST_SCALE) * scale.sigmoid()
    scales = span * (distance * pixel[:, :, None, None])[..., None]
    quaternion = _turned_to_world(quaternion, rotation)
    gain = raw.new_tensor([_DEGREE_GAIN[int(index**0.5)] for index in range(9)])
    harmonics = rotate_harmonics(harmonics.unflatten(-1, (3, 9)) * gain, rotation[:, :, None, None, None])
    return Gaussians(
        *(values.flatten(1, 3) for values in (means, scales, quaternion, harmonics)), opacities=opacity.flatten(1)
    )


def _turned_to_world(quaternion: Tensor, rotation: Tensor) -> Tensor:
    """Quaternions (B, S, H, W, 4) of the head, in camera axes, turned by `rotation` (B, S, 3, 3).

    The head was trained with an odd order of components: what it calls (a, b, c, d) enters as xyzw = (d, a, b, c), and
    what comes out as xyzw is used as wxyz.
    """
    matrices = rotation[:, :, None, None] @ rotation_from_xyzw(quaternion[..., [3, 0, 1, 2]])
    return xyzw_from_rotation(matrices)


def _harmonics(directions: Tensor) -> list[Tensor]:
    """Real spherical harmonics of degrees 0 to 2 at unit directions (..., 3), without their constant factors per degree
    where all members share them, in the order and with the signs of 3D Gaussian splatting."""
    x, y, z = directions.unbind(-1)
    root = 3.0**0.5
    return [
        torch.ones_like(x)[..., None],
        torch.stack([-y, z, -x], dim=-1),
        torch.stack(
            [root * x * y, -root * y * z, z * z - 0.5 * (x * x + y * y), -root * x * z, 0.5 * root * (x * x - y * y)],
            dim=-1,
        ),
    ]


@lru_cache(maxsize=1)
def _probes() -> tuple[Tensor, list[Tensor]]:
    """Directions (K, 3) and, per degree, what takes values there back to coefficients (2 degree + 1, K)."""
    directions = torch.nn.functional.normalize(
        torch.tensor(
            [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, -1, 0], [1, 0, -1]],
            dtype=torch.float64,
        ),
        dim=-1,
    )
    return directions, [torch.linalg.pinv(values) for values in _harmonics(directions)]


def rotate_harmonics(coefficients: Tensor, rotation: Tensor) -> Tensor:
    """Coefficients (..., 9) of a function on directions, for the function turned by `rotation` (..., 3, 3).

    A turned harmonic is a sum of harmonics of its degree. The sum is found from values at a few fixed directions.
    """
    directions, solve = _probes()
    turned = torch.einsum("...ij,kj->...ki", rotation.double().transpose(-1, -2), directions.to(rotation.device))
    parts, first = [], 0
    for degree, values in enumerate(_harmonics(turned)):
        size = 2 * degree + 1
        change = (solve[degree].to(rotation.device) @ values).to(coefficients)
        parts.append(torch.einsum("...ij,...j->...i", change, coefficients[..., first : first + size]))
        first += size
    return torch.cat(parts, dim=-1)

"""Gaussians in the world, one per pixel, from the raw parameters of the Gaussian head."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.cameras import inverse_rigid, rotation_from_xyzw, xyzw_from_rotation
from dynamic_predictor.depth_anything3.pose_alignment import relative_scale
from scene import gaussians as scene_gaussians

_SMALLEST_SCALE, _LARGEST_SCALE = 1e-5, 30.0
#: lower bound of scales in scenes, which are stored as logarithms
_SMALLEST_SCENE_SCALE = 1e-9
#: factors of the raw spherical harmonics coefficients by degree
_DEGREE_GAIN = (1.0, 0.025, 0.00625)


@dataclass
class Gaussians:
    """N Gaussians in each of B scenes, over views, rows and columns, in the world of the cameras.

    `means` (B, N, 3), `scales` (B, N, 3) standard deviations, `rotations` (B, N, 4) quaternions wxyz, `sh_coefficients`
    (B, N, 3, 9) of spherical harmonics up to degree 2, as in 3D Gaussian splatting, `opacities` (B, N) in [0, 1].
    """

    means: Tensor
    scales: Tensor
    rotations: Tensor
    sh_coefficients: Tensor
    opacities: Tensor

    def scaled(self, factors: Tensor) -> "Gaussians":
        """The scenes, each scaled about its origin by its factor in `factors` (B,)."""
        by_scene = factors[:, None, None]
        return Gaussians(
            self.means * by_scene, self.scales * by_scene, self.rotations, self.sh_coefficients, self.opacities
        )


def as_scene_gaussians(predicted: Gaussians) -> scene_gaussians.Gaussians:
    """The first scene of `predicted`, on the CPU. Negative scales, which the network can predict, become tiny."""
    return scene_gaussians.Gaussians(
        predicted.means[0].float().cpu(),
        predicted.scales[0].float().cpu().clamp_min(_SMALLEST_SCENE_SCALE).log(),
        torch.nn.functional.normalize(predicted.rotations[0].float().cpu(), dim=1),
        scene_gaussians.logit(predicted.opacities[0].float().cpu().clamp(1e-6, 1 - 1e-6)),
        predicted.sh_coefficients[0].float().cpu().transpose(1, 2).contiguous(),
    ).packed()


def gaussians_from_pixels(
    raw: Tensor,
    opacity: Tensor,
    depth: Tensor,
    camera_from_world: Tensor,
    intrinsics: Tensor,
    *,
    known_cameras: Tensor | None = None,
) -> Gaussians:
    """Gaussians from `raw` parameters (B, S, H, W, 37), `opacity` and `depth` (B, S, H, W) of images with the cameras
    `camera_from_world` (B, S, 3 or 4, 4) and `intrinsics` (B, S, 3, 3) in pixels.

    Raw parameters are the offset in pixels 2, scale 3, quaternion 4, spherical harmonics coefficients 27, and offset in
    depth 1. `depth`, elsewhere along z, is taken as distance along the ray here, because the head was trained so. With
    `known_cameras` (B, S, 4, 4) the scene is scaled to theirs, by a factor from 1/3 to 3.
    """
    batch, views, height, width = depth.shape
    offset, scale, quaternion, coefficients, depth_offset = raw.split([2, 3, 4, 27, 1], dim=-1)
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
    # a tenth of the sum of a pixel's width and height on the plane at depth one
    pixel = 0.1 * inverse[..., :2, :2].sum(dim=(-1, -2))
    span = _SMALLEST_SCALE + (_LARGEST_SCALE - _SMALLEST_SCALE) * scale.sigmoid()
    scales = span * (distance * pixel[:, :, None, None])[..., None]
    quaternion = _rotate_to_world(quaternion, rotation)
    gain = raw.new_tensor([_DEGREE_GAIN[int(index**0.5)] for index in range(9)])
    coefficients = rotate_sh(coefficients.unflatten(-1, (3, 9)) * gain, rotation[:, :, None, None, None])
    return Gaussians(
        *(values.flatten(1, 3) for values in (means, scales, quaternion, coefficients)), opacities=opacity.flatten(1)
    )


def _rotate_to_world(quaternion: Tensor, rotation: Tensor) -> Tensor:
    """The head's quaternions (B, S, H, W, 4), in camera axes, rotated by `rotation` (B, S, 3, 3), as wxyz.

    The head was trained with an inconsistent order of components, which is kept: its output (a, b, c, d) is read as
    xyzw = (d, a, b, c), and the xyzw components of the rotated quaternion are used as wxyz.
    """
    matrices = rotation[:, :, None, None] @ rotation_from_xyzw(quaternion[..., [3, 0, 1, 2]])
    return xyzw_from_rotation(matrices)


def _spherical_harmonics(directions: Tensor) -> list[Tensor]:
    """Real spherical harmonics of degrees 0 to 2 at unit directions (..., 3), in the order and with the signs of 3D
    Gaussian splatting, each degree up to a constant factor."""
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
    """Sample directions (K, 3) and, per degree, the matrix (2 degree + 1, K) from values there to coefficients."""
    directions = torch.nn.functional.normalize(
        torch.tensor(
            [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, -1, 0], [1, 0, -1]],
            dtype=torch.float64,
        ),
        dim=-1,
    )
    return directions, [torch.linalg.pinv(values) for values in _spherical_harmonics(directions)]


def rotate_sh(coefficients: Tensor, rotation: Tensor) -> Tensor:
    """Spherical harmonics coefficients (..., 9) of the function on directions rotated by `rotation` (..., 3, 3).

    A rotated basis function is a linear combination of those of its degree, which is solved for at a few directions.
    """
    directions, solve = _probes()
    rotated = torch.einsum("...ij,kj->...ki", rotation.double().transpose(-1, -2), directions.to(rotation.device))
    parts, first = [], 0
    for degree, values in enumerate(_spherical_harmonics(rotated)):
        size = 2 * degree + 1
        change = (solve[degree].to(rotation.device) @ values).to(coefficients)
        parts.append(torch.einsum("...ij,...j->...i", change, coefficients[..., first : first + size]))
        first += size
    return torch.cat(parts, dim=-1)

"""Two-dimensional rotary position embedding.

RoPE (Su et al., "RoFormer", 2021) rotates pairs of features by an angle proportional to the token's position. In two
dimensions ("CroCo v2", ICCV 2023) the first half of a head's features rotates with the row, the second with the column.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosine and sine of every feature's angle, each (B or 1, 1, N, head width) float32, for all layers and heads.

    `through_half`: features are rounded to float16 before and after the rotation, which itself runs in float32, as the
    official kernel of CUT3R's image encoder does.
    """

    cosine: Tensor
    sine: Tensor
    through_half: bool = False


def grid_positions(rows: int, columns: int, device: torch.device | str | None = None) -> Tensor:
    """The positions (row, column) of a grid's tokens in reading order, (rows * columns, 2) int64."""
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([row.flatten(), column.flatten()], dim=-1)


def rotation_2d(positions: Tensor, head_width: int, base: float = 100.0) -> Rotation:
    """The rotation of tokens at `positions` (row, column), (N, 2) or (B, N, 2), for heads of `head_width` features.

    Positions may be negative. With D = head_width / 2, pair k of the D / 2 pairs in each half rotates by
    position * base^(-2k / D). Raises `ValueError` if the head width is not a multiple of 4.
    """
    if head_width % 4:
        raise ValueError(f"a 2-D rotation needs heads of a multiple of 4 features, not {head_width}")
    if positions.dim() == 2:
        positions = positions[None]
    half = head_width // 2
    exponents = torch.arange(0, half, 2, dtype=torch.float32, device=positions.device) / half
    frequencies = 1.0 / base**exponents
    angles = positions.to(torch.float32)[..., None] * frequencies  # (B, N, 2, half / 2)
    angles = torch.cat([angles, angles], dim=-1).flatten(-2)[:, None]  # both features of a pair have the same angle
    return Rotation(angles.cos(), angles.sin())


def rotate(features: Tensor, rotation: Rotation) -> Tensor:
    """Rotates `features` (B, heads, N, head width) and keeps their type.

    In each half, features k and k + D / 2 form a pair (the "rotate half" layout).
    """
    if rotation.through_half:
        rotated = rotate(features.half().float(), rotation._replace(through_half=False))
        return rotated.half().to(features.dtype)
    first, second, third, fourth = features.chunk(4, dim=-1)
    turned = torch.cat([-second, first, -fourth, third], dim=-1)
    cosine, sine = rotation.cosine.to(features.dtype), rotation.sine.to(features.dtype)
    return torch.addcmul(features * cosine, turned, sine)

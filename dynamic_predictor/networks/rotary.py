"""Two-dimensional rotary position embedding in plain torch.

RoPE (Su et al., "RoFormer", 2021) turns pairs of features by an angle proportional to the token's position; in two
dimensions (CroCo v2, Weinzaepfel et al. 2023) the first half of the features of a head turns with the row and the
second half with the column.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosine and sine of every feature's angle, each (B or 1, 1, N, head width) float32: one table for all layers and
    heads that see the same tokens."""

    cosine: Tensor
    sine: Tensor


def grid_positions(rows: int, columns: int, device: torch.device | str | None = None) -> Tensor:
    """(row, column) of the tokens of a grid in reading order, (rows * columns, 2) int64."""
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([row.flatten(), column.flatten()], dim=-1)


def rotation_2d(positions: Tensor, head_width: int, base: float = 100.0) -> Rotation:
    """The rotation of tokens at `positions` (N, 2) or (B, N, 2), (row, column), for heads of `head_width` features.

    With D = head_width / 2, feature k of the D / 2 pairs of either half turns by position * base^(-2k / D). Raises
    `ValueError` for a head width that is not a multiple of 4.
    """
    if head_width % 4:
        raise ValueError(f"a 2-D rotation needs heads of a multiple of 4 features, not {head_width}")
    if positions.dim() == 2:
        positions = positions[None]
    half = head_width // 2
    exponents = torch.arange(0, half, 2, dtype=torch.float32, device=positions.device) / half
    frequencies = 1.0 / base**exponents
    angles = positions.to(torch.float32)[..., None] * frequencies  # (B, N, 2, half / 2)
    angles = torch.cat([angles, angles], dim=-1).flatten(-2)[:, None]  # both features of a pair turn alike
    return Rotation(angles.cos(), angles.sin())


def rotate(features: Tensor, rotation: Rotation) -> Tensor:
    """`features` (B, heads, N, head width) turned by `rotation`; the type is kept.

    In each half, feature k and feature k + D / 2 form the pair that turns (the "rotate half" layout).
    """
    first, second, third, fourth = features.chunk(4, dim=-1)
    turned = torch.cat([-second, first, -fourth, third], dim=-1)
    cosine, sine = rotation.cosine.to(features.dtype), rotation.sine.to(features.dtype)
    return torch.addcmul(features * cosine, turned, sine)

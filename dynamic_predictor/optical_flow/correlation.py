"""The correlation of the pixels of one image with those of another, looked up in a window around the current flow.

RAFT (Teed and Deng, ECCV 2020, section 3.2): inner products of features, averaged over 1, 2, 4 and 8 pixels of the
second image, sampled bilinearly.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 4
RADIUS = 4
CHANNELS = LEVELS * (2 * RADIUS + 1) ** 2


class Correlation(Protocol):
    """Looks up correlations in a window around positions."""

    def __call__(self, positions: Tensor) -> Tensor:
        """`positions` (B, 2, h, w): the position (x, y) in the second image of each pixel of the first, in feature
        pixels. Returns (B, `CHANNELS`, h, w): the window of each level, x being its slower index; 0 outside the
        image."""
        ...


def correlate(first: Tensor, second: Tensor, *, volume_bytes: int = 1 << 29) -> Correlation:
    """The correlation of two feature maps (B, C, h, w).

    The correlations of all pairs of pixels are computed once if they take at most `volume_bytes` (they take
    4 B (h w)^2 4/3 bytes). Otherwise each look-up computes the correlations that its windows need, block by block: the
    results are the same, it is slower, and memory grows with h w only.
    """
    batch, _, height, width = first.shape
    if batch * (height * width) ** 2 * 4 * 4 // 3 <= volume_bytes:
        return _AllPairs(first, second)
    return _InBlocks(first, second)


def _pyramid(second: Tensor) -> list[Tensor]:
    """The features of the second image at every level; averaged features have averaged correlations."""
    levels = [second]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


class _AllPairs:
    """Stores the correlation of every pixel with every pixel of every level."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        batch, channels, height, width = first.shape
        queries = first.float().reshape(batch, channels, height * width).transpose(1, 2) / math.sqrt(channels)
        self.sizes = [tuple(level.shape[-2:]) for level in _pyramid(second)]
        self.volumes = [
            (queries @ level.float().flatten(2)).reshape(batch * height * width, -1) for level in _pyramid(second)
        ]

    def __call__(self, positions: Tensor) -> Tensor:
        batch, _, height, width = positions.shape
        points = positions.permute(0, 2, 3, 1).reshape(-1, 2)
        looked_up = []
        for level, (volume, size) in enumerate(zip(self.volumes, self.sizes, strict=True)):
            indices, inside, fraction = _window(points / 2**level, size)
            looked_up.append(_interpolate(volume.gather(1, indices) * inside, fraction))
        return torch.cat(looked_up, dim=1).reshape(batch, height, width, -1).permute(0, 3, 1, 2)


class _InBlocks:
    """Computes correlations at each look-up: of one block of pixels after the other, with those rows of the second
    image that their windows reach."""

    def __init__(self, first: Tensor, second: Tensor, block_bytes: int = 1 << 27) -> None:
        channels, height, width = first.shape[1:]
        self.queries = first.float().flatten(2).transpose(1, 2) / math.sqrt(channels)
        self.levels = [level.float() for level in _pyramid(second)]
        # the correlations of one block with the whole second image take at most `block_bytes`
        self.block = max(1, block_bytes // (4 * height * width))

    def __call__(self, positions: Tensor) -> Tensor:
        batch, _, height, width = positions.shape
        points = positions.flatten(2).transpose(1, 2)
        result = points.new_empty(batch, height * width, CHANNELS)
        for image in range(batch):
            for start in range(0, height * width, self.block):
                block = slice(start, start + self.block)
                queries = self.queries[image, block]
                looked_up = [
                    _look_up_rows(queries, level[image], points[image, block] / 2**number)
                    for number, level in enumerate(self.levels)
                ]
                result[image, block] = torch.cat(looked_up, dim=1)
        return result.transpose(1, 2).reshape(batch, CHANNELS, height, width)


def _look_up_rows(queries: Tensor, keys: Tensor, points: Tensor) -> Tensor:
    """The correlation of `queries` (P, C) with `keys` (C, h, w) in windows around `points` (P, 2): (P, (2 r + 1)^2)."""
    height, width = keys.shape[1:]
    rows = points[:, 1].nan_to_num(0.0).clamp(-1.0, height).floor()
    top = min(max(int(rows.min()) - RADIUS, 0), height - 1)
    bottom = min(max(int(rows.max()) + RADIUS + 2, top + 1), height)
    indices, inside, fraction = _window(points, (height, width))
    correlation = queries @ keys[:, top:bottom].flatten(1)
    # indices outside the computed rows belong to pixels outside the image, which are masked
    indices = (indices - top * width).clamp(0, correlation.shape[1] - 1)
    return _interpolate(correlation.gather(1, indices) * inside, fraction)


def _window(points: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels around `points` (P, 2) from which a window is interpolated, x being the slower index: their flat
    indices and whether they are inside the image, both (P, (2 r + 2)^2), and the fractional parts (P, 2) of the
    points."""
    height, width = size
    corner = points.floor()
    steps = torch.arange(-RADIUS, RADIUS + 2, device=points.device, dtype=points.dtype)
    x = corner[:, 0, None] + steps
    y = corner[:, 1, None] + steps
    inside_x, inside_y = (x >= 0) & (x < width), (y >= 0) & (y < height)
    columns, rows = x.long().clamp(0, width - 1), y.long().clamp(0, height - 1)  # in this order NaN is harmless
    indices = columns[:, :, None] + rows[:, None, :] * width
    inside = inside_x[:, :, None] & inside_y[:, None, :]
    return indices.flatten(1), inside.flatten(1), points - corner


def _interpolate(values: Tensor, fraction: Tensor) -> Tensor:
    """Values (P, (2 r + 1)^2) interpolated bilinearly at the offset `fraction` (P, 2) from those at whole pixels,
    (P, (2 r + 2)^2)."""
    side = 2 * RADIUS + 2
    values = values.reshape(-1, side, side)
    x, y = fraction[:, 0, None, None], fraction[:, 1, None, None]
    values = torch.lerp(values[:, :-1], values[:, 1:], x)
    return torch.lerp(values[:, :, :-1], values[:, :, 1:], y).flatten(1)

"""The tracker of VGGT (Wang et al., CVPR 2025), after CoTracker (Karaev et al., ECCV 2024): points of the first frame
are followed through feature maps of all frames by a transformer over time and over tracks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample

from dynamic_predictor.networks.transformer import FeedForward
from dynamic_predictor.streamvggt.architecture import TrackerSizes

ITERATIONS = 4
#: displacements are divided by it, in pixels of the feature maps
_LARGEST_SIZE = 518.0


@dataclass
class Tracks:
    """`points` (B, S, N, 2): (x, y) in pixels of the images; the integers are pixel centers. `visibility` and
    `confidence` (B, S, N) in [0, 1]. `iterations`: the points after each refinement."""

    points: Tensor
    visibility: Tensor
    confidence: Tensor
    iterations: list[Tensor]


class TrackBlock(nn.Module):
    """Attention and feed-forward layer. Unlike in usual blocks, the attention is added to the normalized tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (B, N, width) to the same shape."""
        tokens = self.norm1(tokens)
        tokens = tokens + self.attn(tokens, tokens, tokens, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class TrackCrossBlock(nn.Module):
    """As `TrackBlock`, with attention to other tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Maps tokens (B, N, width) to the same shape, given `others` (B, M, width)."""
        tokens, others = self.norm1(tokens), self.norm_context(others)
        tokens = tokens + self.cross_attn(tokens, others, others, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class TrackUpdater(nn.Module):
    """Attention over time within each track, and across tracks through virtual ones, in turn."""

    def __init__(self, in_width: int, out_width: int, sizes: TrackerSizes) -> None:
        super().__init__()
        width, heads, depth = sizes.width, sizes.heads, sizes.depth
        self.input_norm = nn.LayerNorm(in_width)
        self.input_transform = nn.Linear(in_width, width)
        self.output_norm = nn.LayerNorm(width)
        self.flow_head = nn.Linear(width, out_width)
        self.virual_tracks = nn.Parameter(torch.zeros(1, sizes.virtual_tracks, 1, width))  # spelled as in the files
        self.time_blocks = nn.ModuleList(TrackBlock(width, heads) for _ in range(depth))
        self.space_virtual_blocks = nn.ModuleList(TrackBlock(width, heads) for _ in range(depth))
        self.space_point2virtual_blocks = nn.ModuleList(TrackCrossBlock(width, heads) for _ in range(depth))
        self.space_virtual2point_blocks = nn.ModuleList(TrackCrossBlock(width, heads) for _ in range(depth))

    def forward(self, inputs: Tensor) -> Tensor:
        """Updates (B, N, S, out width) from `inputs` (B, N, S, in width) of N tracks in S frames."""
        initial = self.input_transform(self.input_norm(inputs))
        batch, count, frames, _ = initial.shape
        tokens = torch.cat([initial, self.virual_tracks.expand(batch, -1, frames, -1)], dim=1)
        for time, virtual, to_points, from_points in zip(
            self.time_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            self.space_virtual2point_blocks,
            strict=True,
        ):
            tokens = time(tokens.flatten(0, 1)).unflatten(0, (batch, -1))
            across = tokens.transpose(1, 2).flatten(0, 1)  # (B * S, tracks, width)
            points, virtuals = across[:, :count], across[:, count:]
            virtuals = virtual(from_points(virtuals, points))
            points = to_points(points, virtuals)
            tokens = torch.cat([points, virtuals], dim=1).unflatten(0, (batch, frames)).transpose(1, 2)
        return self.flow_head(self.output_norm(tokens[:, :count] + initial))


class Tracker(nn.Module):
    """Follows points through feature maps."""

    #: pixels of the images per pixel of the feature maps
    stride = 2

    def __init__(self, sizes: TrackerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.dense.features
        self.corr_mlp = FeedForward(sizes.levels * (2 * sizes.radius + 1) ** 2, sizes.width, width)
        in_width = 3 * width + 4
        self.query_ref_token = nn.Parameter(torch.zeros(1, 2, in_width))
        self.updateformer = TrackUpdater(in_width, width + 2, sizes)
        self.fmap_norm = nn.LayerNorm(width)
        self.ffeat_norm = nn.GroupNorm(1, width)
        self.ffeat_updater = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.vis_predictor = nn.Sequential(nn.Linear(width, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(width, 1))

    @property
    def least_side(self) -> int:
        """The shortest side in pixels of images whose feature maps have all levels of the correlations."""
        return 2 * 2 ** (self.sizes.levels - 1)

    def forward(self, maps: Tensor, query_points: Tensor) -> Tracks:
        """Tracks of `query_points` (B, N, 2), (x, y) in pixels of frame 0, through maps (B, S, C, H / 2, W / 2).

        In frame 0 a track is its query point.
        """
        frames = maps.shape[1]
        maps = self.fmap_norm(maps.permute(0, 1, 3, 4, 2)).permute(0, 1, 4, 2, 3)
        start = query_points / self.stride
        points = start[:, None].expand(-1, frames, -1, -1)
        features = sample_at(maps[:, 0], start)[:, None].expand(-1, frames, -1, -1)
        pyramid = correlation_pyramid(maps, self.sizes.levels)
        place = position_waves(self.query_ref_token.shape[-1], (maps.shape[-2], maps.shape[-1]), start)
        reference = torch.cat([self.query_ref_token[:, :1], self.query_ref_token[:, 1:].expand(-1, frames - 1, -1)], 1)
        iterations = []
        for _ in range(ITERATIONS):
            points = points.detach()
            inputs = self._inputs(pyramid, points, features) + place[:, :, None] + reference[:, None]
            update = self.updateformer(inputs)
            change = self.ffeat_updater(self.ffeat_norm(update[..., 2:].flatten(0, 2))).view_as(update[..., 2:])
            features = features + change.transpose(1, 2)
            moved = points + update[..., :2].transpose(1, 2)
            points = torch.cat([start[:, None], moved[:, 1:]], dim=1)
            iterations.append(points * self.stride)
        visibility = self.vis_predictor(features).squeeze(-1).sigmoid()
        confidence = self.conf_predictor(features).squeeze(-1).sigmoid()
        return Tracks(iterations[-1], visibility, confidence, iterations)

    def _inputs(self, pyramid: list[Tensor], points: Tensor, features: Tensor) -> Tensor:
        """What the updater sees (B, N, S, 3 C + 4): displacements from frame 0, correlations, features."""
        correlations = self.corr_mlp(correlations_around(pyramid, features, points, self.sizes.radius))
        flow = points - points[:, :1]
        scaled = flow / _LARGEST_SIZE
        waves = displacement_waves(flow, features.shape[-1] // 2)
        return torch.cat([waves, scaled, scaled, correlations, features], dim=-1).transpose(1, 2)


def correlation_pyramid(maps: Tensor, levels: int) -> list[Tensor]:
    """`levels` feature maps (B, S, C, h, w), each the mean of 2 x 2 pixels of the one before."""
    pyramid = [maps]
    for _ in range(levels - 1):
        pyramid.append(avg_pool2d(pyramid[-1].flatten(0, 1), 2, stride=2).unflatten(0, maps.shape[:2]))
    return pyramid


def correlations_around(pyramid: list[Tensor], features: Tensor, points: Tensor, radius: int) -> Tensor:
    """Correlations (B, S, N, levels * (2 radius + 1)^2) of track `features` (B, S, N, C) with the maps of the pyramid
    around `points` (B, S, N, 2), (x, y) in pixels of the finest one; 0 outside of the maps.

    Of a neighborhood, the first coordinate of the grid changes slowest and is added to x: the published weights were
    trained with this transposed order.
    """
    batch, frames, count, channels = features.shape
    offsets = torch.arange(-radius, radius + 1, device=points.device, dtype=points.dtype)
    grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1)
    around = []
    for level, maps in enumerate(pyramid):
        height, width = maps.shape[-2:]
        volume = (features @ maps.flatten(3)) / math.sqrt(channels)  # (B, S, N, h * w)
        places = points.reshape(-1, 1, 1, 2) / 2**level + grid
        sampled = _sample(volume.reshape(-1, 1, height, width), places, "zeros")
        around.append(sampled.reshape(batch, frames, count, -1))
    return torch.cat(around, dim=-1)


def sample_at(maps: Tensor, points: Tensor) -> Tensor:
    """Values (B, N, C) of `maps` (B, C, H, W) at `points` (B, N, 2), (x, y) with integers at pixel centers; outside, of
    the nearest pixel on the border."""
    return _sample(maps, points[:, :, None], "border")[..., 0].transpose(1, 2)


def _sample(maps: Tensor, points: Tensor, outside: str) -> Tensor:
    height, width = maps.shape[-2:]
    scale = points.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    return grid_sample(maps, points * scale - 1, align_corners=True, padding_mode=outside)


def displacement_waves(displacements: Tensor, channels: int) -> Tensor:
    """Sines and cosines in turn (..., 2 * channels) of displacements (..., 2), first of x, then of y; the angle of pair
    k is 2000 k / channels times the displacement."""
    factors = torch.arange(0, channels, 2, device=displacements.device, dtype=displacements.dtype) * (1000.0 / channels)
    angles = displacements[..., None] * factors
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


def position_waves(channels: int, size: tuple[int, int], points: Tensor) -> Tensor:
    """Embedding (B, N, channels) of `points` (B, N, 2), (x, y) in pixels of maps of `size` (H, W): the bilinear
    interpolation of that of the pixels, of which the first half depends on x and the second on y alone."""
    height, width = size
    halves = []
    for axis, count in ((0, width), (1, height)):
        table = _waves(channels // 2, count).to(points)
        place = points[..., axis].clamp(0, count - 1)
        lower = place.floor().long().clamp_max(max(count - 2, 0))
        share = (place - lower)[..., None]
        halves.append(table[lower] * (1 - share) + table[(lower + 1).clamp_max(count - 1)] * share)
    return torch.cat(halves, dim=-1)


def _waves(channels: int, count: int) -> Tensor:
    """Sines, then cosines (count, channels) of the numbers below `count`, with wavelengths from 2 pi to 20000 pi."""
    half = channels // 2
    frequencies = 1.0 / 10000 ** (torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)

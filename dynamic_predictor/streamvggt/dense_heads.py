"""The dense heads of VGGT (Wang et al., CVPR 2025): points or depth, with confidences, from tokens of four taps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dynamic_predictor.networks.dense_head import DenseHead
from dynamic_predictor.streamvggt.architecture import DenseHeadSizes


class MapHead(DenseHead):
    """Maps with a confidence at the size of the images, before activation."""

    def __init__(self, token_width: int, sizes: DenseHeadSizes, out_channels: int) -> None:
        super().__init__(
            token_width,
            sizes.features,
            sizes.channels,
            out_channels,
            normalized=True,
            placed=True,
            rectified_skips=True,
        )

    def forward(self, patches: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Channels last, (N, H, W, C), for patch tokens (N, rows * columns, D) of the four taps of N images of `size`
        (H, W) with a `grid` of (rows, columns) patches."""
        levels = self.pyramid(patches, grid, size[1] / size[0])
        return self.scratch.output_conv2(self.enlarged(self.refine(levels), size)).permute(0, 2, 3, 1)


class TrackFeatures(DenseHead):
    """Feature maps at half the size of the images, in which points are tracked."""

    def __init__(self, token_width: int, sizes: DenseHeadSizes) -> None:
        super().__init__(
            token_width, sizes.features, sizes.channels, None, normalized=True, placed=False, rectified_skips=True
        )

    def forward(self, patches: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """(N, features, H / 2, W / 2) for patch tokens as in `MapHead`."""
        levels = self.pyramid(patches, grid, size[1] / size[0])
        return self.enlarged(self.refine(levels), (size[0] // 2, size[1] // 2))


def points_and_confidence(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Points (..., 3) = sign(y) (exp|y| - 1) and their confidence (...), at least 1, of maps (..., 4)."""
    values = maps[..., :3]
    return values.sign() * torch.expm1(values.abs()), 1 + maps[..., 3].exp()


def depth_and_confidence(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (...) = exp(y) along z and its confidence (...), at least 1, of maps (..., 2)."""
    return maps[..., 0].exp(), 1 + maps[..., 1].exp()

"""Base of the dense heads of VGGT and Depth Anything 3: a pyramid of feature maps from tokens, refined from coarse to
fine (DPT: Ranftl et al., ICCV 2021). Parameter names are those of the published checkpoints."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from dynamic_predictor.networks.dense_prediction import FeatureFusion


def add_plane_embedding(maps: Tensor, aspect: float) -> Tensor:
    """Adds a sinusoidal embedding of each cell's position in the image to `maps` (N, C, h, w), in place; returns them.

    Coordinates are relative to the center of an image of `aspect` = width / height whose half diagonal is 1. The
    embedding is 0.1 sin x, cos x, sin y, cos y, a quarter of the channels each, of wavelengths from 2 pi to 200 pi.
    """
    channels, rows, columns = maps.shape[1:]
    diagonal = (aspect * aspect + 1.0) ** 0.5
    quarter = channels // 4
    frequencies = 100.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)

    def waves(count: int, half_side: float) -> Tensor:
        reach = half_side * (count - 1) / count
        phase = torch.linspace(-reach, reach, count, dtype=torch.float64)[:, None] * frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=1).mul(0.1).to(maps).T

    maps[:, : 2 * quarter] += waves(columns, aspect / diagonal)[:, None, :]
    maps[:, 2 * quarter :] += waves(rows, 1.0 / diagonal)[:, :, None]
    return maps


class Scratch(nn.Module):
    """Container that gives the layers their names in the checkpoints (`scratch.*`)."""

    output_conv1: nn.Conv2d
    output_conv2: nn.Sequential
    output_conv1_aux: nn.ModuleList
    output_conv2_aux: nn.ModuleList
    sky_output_conv2: nn.Sequential


class DenseHead(nn.Module):
    """Maps at the size of the image from tokens of four layers.

    `features`: channels of the refinements; `channels`: those of the four levels before them. `out_channels` None: the
    head ends with maps of `features` channels. `normalized`: a layer norm is applied to the tokens first. `placed`:
    position embeddings are added to the maps. `rectified_skips`: see `dense_prediction.ResidualConvolutionUnit`.
    """

    def __init__(
        self,
        token_width: int,
        features: int,
        channels: Sequence[int],
        out_channels: int | None,
        *,
        normalized: bool,
        placed: bool,
        rectified_skips: bool = False,
    ) -> None:
        super().__init__()
        self.placed = placed
        self.rectified_skips = rectified_skips
        self.norm = nn.LayerNorm(token_width) if normalized else nn.Identity()
        self.projects = nn.ModuleList(nn.Conv2d(token_width, width, 1) for width in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch()
        for level, width in enumerate(channels, start=1):
            setattr(self.scratch, f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
        self._add_refinements("", features)
        last = features if out_channels is None else features // 2
        self.scratch.output_conv1 = nn.Conv2d(features, last, 3, padding=1)
        if out_channels is not None:
            self.scratch.output_conv2 = output_convolutions(last, out_channels)

    def _add_refinements(self, suffix: str, features: int) -> None:
        for level in (1, 2, 3, 4):
            fusion = FeatureFusion(features, has_lateral_unit=level < 4, rectified_skips=self.rectified_skips)
            setattr(self.scratch, f"refinenet{level}{suffix}", fusion)

    def pyramid(self, tokens: Sequence[Tensor], grid: tuple[int, int], aspect: float) -> list[Tensor]:
        """Four levels (N, F, h, w), finest first, from tokens of the four out layers, each (N, P, D)."""
        levels = []
        for level, (layer, project, resize) in enumerate(
            zip(tokens, self.projects, self.resize_layers, strict=True), start=1
        ):
            # A 1x1 convolution of tokens is a linear layer. Its maps have channels last, for which convolution and
            # interpolation are faster, and they keep that layout.
            assert isinstance(project, nn.Conv2d)
            maps = linear(self.norm(layer), project.weight.flatten(1), project.bias)
            maps = maps.unflatten(1, grid).permute(0, 3, 1, 2)
            if self.placed:
                maps = add_plane_embedding(maps, aspect)
            levels.append(getattr(self.scratch, f"layer{level}_rn")(resize(maps)))
        return levels

    def refine(self, levels: Sequence[Tensor], suffix: str = "") -> Tensor:
        """One map (N, F, 8 rows, 8 columns) from the pyramid, by the refinements whose names end in `suffix`."""
        maps = levels[3]
        for level in (4, 3, 2, 1):
            lateral = levels[level - 1] if level < 4 else None
            size = (levels[level - 2].shape[-2], levels[level - 2].shape[-1]) if level > 1 else None
            maps = getattr(self.scratch, f"refinenet{level}{suffix}")(maps, lateral, size)
        return maps

    def enlarged(self, maps: Tensor, size: tuple[int, int], extra: Tensor | None = None) -> Tensor:
        """Refined maps enlarged to (N, C, H, W) by bilinear interpolation, with `extra` of that shape added."""
        maps = interpolate(self.scratch.output_conv1(maps), size=size, mode="bilinear", align_corners=True)
        if extra is not None:
            maps = maps + extra
        return add_plane_embedding(maps, size[1] / size[0]) if self.placed else maps


def output_convolutions(width: int, out_channels: int) -> nn.Sequential:
    """The last two convolutions of a head, with a ReLU between them."""
    return nn.Sequential(nn.Conv2d(width, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, out_channels, 1))

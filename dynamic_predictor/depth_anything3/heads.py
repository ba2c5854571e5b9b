"""The heads of Depth Anything 3: depth and rays, depth and sky, parameters of Gaussians."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamic_predictor.depth_anything3.settings import HeadSettings
from dynamic_predictor.networks.dense_head import DenseHead, add_plane_embedding, output_convolutions


@dataclass
class DepthMaps:
    """Maps of N views; None for outputs that the head does not have or that were not requested.

    `depth`, `confidence` (at least 1) and `sky` (at least 0) are (N, H, W) at the size of the image; `ray` (N, 8 rows,
    8 columns, 6): directions and origins at eight points per patch side, with `ray_confidence` of at least 1.
    """

    depth: Tensor
    confidence: Tensor | None = None
    sky: Tensor | None = None
    ray: Tensor | None = None
    ray_confidence: Tensor | None = None


class DepthRayHead(DenseHead):
    """Depth with confidence and, by a second chain of refinements over the same pyramid, rays with confidence.

    The published network was trained with ray outputs at four levels, of which only the finest is used. The parameters
    of the other three exist because the checkpoints contain them. All four levels share one norm, which the checkpoints
    store under the first (`output_conv2_aux.0.2`).
    """

    def __init__(self, token_width: int, settings: HeadSettings) -> None:
        super().__init__(token_width, settings.features, settings.channels, 2, normalized=True, placed=True)
        features = settings.features
        self._add_refinements("_aux", features)
        self.scratch.output_conv1_aux = nn.ModuleList(_ray_convolutions(features) for _ in range(4))
        self.scratch.output_conv2_aux = nn.ModuleList(
            _RayOutput(features // 2, holds_norm=level == 0) for level in range(4)
        )

    def forward(self, tokens: Sequence[Tensor], size: tuple[int, int], *, rays: bool = True) -> DepthMaps:
        """Maps from tokens of the four out layers, each (N, P, D), of images of `size` (H, W)."""
        grid, aspect = _grid(tokens[0], size), size[1] / size[0]
        levels = self.pyramid(tokens, grid, aspect)
        logits = self.scratch.output_conv2(self.enlarged(self.refine(levels), size))
        result = DepthMaps(logits[:, 0].exp(), logits[:, 1].exp() + 1.0)
        if rays:
            maps = self._ray_logits(self.refine(levels, "_aux"), aspect)
            result.ray, result.ray_confidence = maps[..., :6], maps[..., 6].exp() + 1.0
        return result

    def _ray_logits(self, maps: Tensor, aspect: float) -> Tensor:
        """Rays and the logarithm of their confidence - 1 (N, h, w, 7), from refined maps (N, F, h, w)."""
        maps = add_plane_embedding(self.scratch.output_conv1_aux[3](maps), aspect)
        shared = self.scratch.output_conv2_aux[0].get_submodule("2")
        return self.scratch.output_conv2_aux[3](maps, shared)


class _RayOutput(nn.Module):
    """Convolution, norm over the channels, ReLU, convolution, named by their numbers in the checkpoints."""

    out_channels = 7

    def __init__(self, width: int, *, holds_norm: bool) -> None:
        super().__init__()
        self.add_module("0", nn.Conv2d(width, 32, 3, padding=1))
        if holds_norm:
            self.add_module("2", nn.LayerNorm(32))
        self.add_module("5", nn.Conv2d(32, self.out_channels, 1))

    def forward(self, maps: Tensor, norm: nn.Module) -> Tensor:
        """(N, width, h, w) to (N, h, w, 7)."""
        maps = norm(self.get_submodule("0")(maps).permute(0, 2, 3, 1))
        return self.get_submodule("5")(F.relu(maps).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _ray_convolutions(features: int) -> nn.Sequential:
    half = features // 2
    widths = (features, half, features, half, features, half)
    return nn.Sequential(
        *(nn.Conv2d(before, after, 3, padding=1) for before, after in zip(widths, widths[1:], strict=False))
    )


class DepthSkyHead(DenseHead):
    """Depth, and a sky map that is 0.3 or more at pixels of sky (`metric_alignment.SKY_THRESHOLD`)."""

    def __init__(self, token_width: int, settings: HeadSettings) -> None:
        super().__init__(token_width, settings.features, settings.channels, 1, normalized=False, placed=False)
        self.scratch.sky_output_conv2 = output_convolutions(settings.features // 2, 1)

    def forward(self, tokens: Sequence[Tensor], size: tuple[int, int]) -> DepthMaps:
        """Maps from tokens of the four out layers, each (N, P, D), of images of `size` (H, W)."""
        levels = self.pyramid(tokens, _grid(tokens[0], size), size[1] / size[0])
        maps = self.enlarged(self.refine(levels), size)
        depth = self.scratch.output_conv2(maps)[:, 0].exp()
        return DepthMaps(depth, sky=F.relu(self.scratch.sky_output_conv2(maps)[:, 0]))


class GaussianHead(DenseHead):
    """37 parameters and an opacity for one Gaussian per pixel, from the tokens and the image."""

    raw_channels = 37

    def __init__(self, token_width: int, settings: HeadSettings) -> None:
        super().__init__(
            token_width, settings.features, settings.channels, self.raw_channels + 1, normalized=False, placed=True
        )
        features = settings.features
        widths = (3, features // 8, features // 4, features // 2)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GELU()]
        self.images_merger = nn.Sequential(*layers)

    def forward(self, tokens: Sequence[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw parameters (N, H, W, 37) and opacities (N, H, W), from tokens of the four out layers, each (N, P, D), and
        the normalized images (N, 3, H, W)."""
        size = (images.shape[-2], images.shape[-1])
        levels = self.pyramid(tokens, _grid(tokens[0], size), size[1] / size[0])
        maps = self.enlarged(self.refine(levels), size, self.images_merger(images))
        raw = self.scratch.output_conv2(maps).permute(0, 2, 3, 1)
        return raw[..., : self.raw_channels], raw[..., self.raw_channels].sigmoid()


def _grid(tokens: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image of `size` (H, W)."""
    rows = round((tokens.shape[1] * size[0] / size[1]) ** 0.5)
    return rows, tokens.shape[1] // rows


def by_chunks(run: Callable[[slice], DepthMaps], count: int, chunk: int) -> DepthMaps:
    """The concatenated results of `run` on slices of at most `chunk` of `count` views."""
    parts = [run(slice(first, min(first + chunk, count))) for first in range(0, count, chunk)]
    if len(parts) == 1:
        return parts[0]
    joined = {}
    for name in (item.name for item in fields(DepthMaps)):
        values = [getattr(part, name) for part in parts]
        joined[name] = None if values[0] is None else torch.cat(values)
    return DepthMaps(**joined)

"""The vision transformer of DINOv2 (Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023),
with options of the geometry networks that are built on it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.patch_embedding import PatchEmbedding
from dynamic_predictor.networks.transformer import TransformerBlock


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer, "GLU variants improve transformer", 2020): silu(first half) * second half, then a linear layer.

    Its hidden width is two thirds of that of `FeedForward`, rounded up to a multiple of eight.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (..., width) to the same shape."""
        gate, value = linear(self.w12, tokens).chunk(2, dim=-1)
        return linear(self.w3, silu(gate) * value)


class VisionTransformer(nn.Module):
    """DINOv2: a class token and patch tokens with a position embedding; blocks; a final norm.

    From block `normalized_from` on (None: never), queries and keys are normalized per head. `position_grid`: patches
    per side of the square training images (518 pixels), for which the position embedding was learned. `registers`:
    learned tokens behind the class token, without a position (Darcet et al., "Vision transformers need registers",
    2023); with them comes the mask token of the published files, which is never used. `antialiased_positions`: see
    `position_embedding`.
    """

    patch_size = 14

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        feed_forward: Literal["mlp", "swiglu"] = "mlp",
        normalized_from: int | None = None,
        final_norm_epsilon: float = 1e-6,
        position_grid: int = 37,
        registers: int = 0,
        antialiased_positions: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.position_grid = position_grid
        self.registers = registers
        self.antialiased_positions = antialiased_positions
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + position_grid**2, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
            self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = PatchEmbedding(self.patch_size, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads,
                normalize_queries_and_keys=normalized_from is not None and index >= normalized_from,
                layer_scale=1.0,
                feed_forward=GatedFeedForward(width) if feed_forward == "swiglu" else None,
            )
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=final_norm_epsilon)

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """The embedding (1, 1 + rows * columns, width) of the class token and of the grid, bicubically resized unless
        the grid has the learned size. As in DINOv2, the scale factors, which determine the sampling positions, are
        slightly larger than the ratios of the sizes; with `antialiased_positions` they are exact, as in DINOv2 with
        registers, and shrinking filters."""
        side = self.position_grid
        if rows == columns == side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, self.width).permute(0, 3, 1, 2).float()
        if self.antialiased_positions:
            grid = interpolate(grid, size=(rows, columns), mode="bicubic", antialias=True)
        else:
            grid = interpolate(grid, scale_factor=[(rows + 0.1) / side, (columns + 0.1) / side], mode="bicubic")
        return torch.cat(
            [self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, self.width)], dim=1
        )

    def embed(self, images: Tensor) -> Tensor:
        """Tokens of images (N, 3, H, W): class token, registers, patches. Raises `ValueError` as `PatchEmbedding`."""
        rows, columns = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        patches, _ = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.position_embedding(rows, columns)
        if self.registers:
            registers = self.register_tokens.expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return tokens

    def patch_tokens(self, images: Tensor) -> Tensor:
        """Normalized tokens (N, P, width) of the patches of images (N, 3, H, W), after all blocks."""
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1 + self.registers :]

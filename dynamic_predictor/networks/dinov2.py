"""The vision transformer of DINOv2 (Oquab et al., 2023), with the options that geometry networks add to it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.patch_embedding import PatchEmbedding
from dynamic_predictor.networks.transformer import TransformerBlock


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer, "GLU variants improve transformer", 2020): silu(first half) * second half, then a linear layer.

    Its hidden width is two thirds of the usual one, up to the next multiple of eight.
    """

    def __init__(self, width: int, ratio: float = 4.0) -> None:
        super().__init__()
        hidden = (int(int(width * ratio) * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., width) to the same shape."""
        gate, value = linear(self.w12, tokens).chunk(2, dim=-1)
        return linear(self.w3, silu(gate) * value)


class VisionTransformer(nn.Module):
    """DINOv2: patch tokens behind a class token and register tokens, position embedding, blocks, a last norm.

    From block `normalized_from` on (None: never), queries and keys are normalized per head. `position_offset` is what
    DINOv2 adds to the size of the grid when it resizes its position embedding and `position_antialias` whether it
    smooths while doing so: published networks differ in both.
    """

    patch_size = 14
    #: patches along each side of the square image (518 pixels) that the position embedding was learned on
    position_grid = 37

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        feed_forward: Literal["mlp", "swiglu"] = "mlp",
        normalized_from: int | None = None,
        register_tokens: int = 0,
        final_norm_epsilon: float = 1e-6,
        position_offset: float = 0.1,
        position_antialias: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.position_offset = position_offset
        self.position_antialias = position_antialias
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.position_grid**2, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, register_tokens, width)) if register_tokens else None
        self.patch_embed = PatchEmbedding(self.patch_size, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads,
                norm_epsilon=1e-6,
                normalize_queries_and_keys=normalized_from is not None and index >= normalized_from,
                layer_scale=1.0,
                feed_forward=GatedFeedForward(width) if feed_forward == "swiglu" else None,
            )
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=final_norm_epsilon)

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows * columns, width): the class token's entry, then the grid's, resized bicubically.

        With an offset DINOv2 resizes by a factor that is slightly larger than the ratio of sizes, and the factor, not
        the size, places the samples. Only the grid that was learned is taken as it is.
        """
        side = self.position_grid
        if rows == columns == side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, self.width).permute(0, 3, 1, 2).float()
        size, factors = (rows, columns), None
        if self.position_offset:
            size, factors = None, [(rows + self.position_offset) / side, (columns + self.position_offset) / side]
        grid = interpolate(grid, size=size, scale_factor=factors, mode="bicubic", antialias=self.position_antialias)
        return torch.cat(
            [self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, self.width)], dim=1
        )

    def embed(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) with sides that are multiples of the patch size to tokens: class, registers, patches.

        Raises `ValueError` for other sizes.
        """
        rows, columns = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        patches, _ = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.position_embedding(rows, columns)
        if self.register_tokens is None:
            return tokens
        registers = self.register_tokens.expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)

"""Transformer layers: the block of a Vision Transformer, and a decoder block that attends to a second sequence.

ViT: Dosovitskiy et al., ICLR 2021 (pre-norm residual blocks). LayerScale: Touvron et al., ICCV 2021. Decoder block:
CroCo (Weinzaepfel et al., NeurIPS 2022).
"""

import torch
from torch import Tensor, nn

from dynamic_predictor.networks.attention import (
    Attend,
    AttentionObserver,
    CrossAttention,
    SelfAttention,
    observed_by,
)
from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.rotary import Rotation


class FeedForward(nn.Module):
    """Linear layer, exact GELU, linear layer, on tokens (..., width), to `out_width` features, by default as many."""

    def __init__(self, width: int, hidden_width: int, out_width: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.fc2 = nn.Linear(hidden_width, out_width or width)

    def forward(self, tokens: Tensor) -> Tensor:
        return linear(self.fc2, linear(self.fc1, tokens, "gelu"))


class LayerScale(nn.Module):
    """A learned gain per feature."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class TransformerBlock(nn.Module):
    """Residual blocks of self-attention and of a feed-forward layer, each on normalized tokens.

    `layer_scale`: initial gain of LayerScale (None: no LayerScale). `feed_forward` replaces `FeedForward`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        feed_forward_ratio: float = 4.0,
        norm_epsilon: float = 1e-6,
        normalize_queries_and_keys: bool = False,
        layer_scale: float | None = None,
        feed_forward: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_epsilon)
        self.attn = SelfAttention(width, heads, normalize_queries_and_keys=normalize_queries_and_keys)
        self.ls1: nn.Module = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_epsilon)
        self.mlp = feed_forward or FeedForward(width, int(width * feed_forward_ratio))
        self.ls2: nn.Module = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, tokens: Tensor, rotation: Rotation | None = None, attend: Attend | None = None) -> Tensor:
        """Maps tokens (B, N, width) to the same shape; `attend` as in `SelfAttention`."""
        tokens = tokens + self.attention_residual(tokens, rotation, attend)
        return tokens + self.feed_forward_residual(tokens)

    def attention_residual(
        self, tokens: Tensor, rotation: Rotation | None = None, attend: Attend | None = None
    ) -> Tensor:
        """What the attention adds to tokens (B, N, width)."""
        return self.ls1(self.attn(self.norm1(tokens), rotation, attend))

    def feed_forward_residual(self, tokens: Tensor) -> Tensor:
        """What the feed-forward layer adds to tokens (B, N, width), which is independent for each of them."""
        return self.ls2(self.mlp(self.norm2(tokens)))


class DecoderBlock(nn.Module):
    """Residual blocks of self-attention, cross-attention to the other view, and a feed-forward layer."""

    def __init__(self, width: int, heads: int, *, feed_forward_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, int(width * feed_forward_ratio))
        self.norm_y = nn.LayerNorm(width, eps=1e-6)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        rotation: Rotation | None = None,
        memory_rotation: Rotation | None = None,
        observer: AttentionObserver | None = None,
        self_observer: AttentionObserver | None = None,
    ) -> Tensor:
        """Maps the `tokens` (B, N, width) of one view to the same shape, given `memory` (B, M, width) of the other.
        `observer` is given the queries and keys of the cross-attention, `self_observer` those of the self-attention."""
        tokens = tokens + self.attn(self.norm1(tokens), rotation, observed_by(self_observer))
        memory = self.norm_y(memory)
        tokens = tokens + self.cross_attn(self.norm2(tokens), memory, rotation, memory_rotation, observer)
        return tokens + self.mlp(self.norm3(tokens))

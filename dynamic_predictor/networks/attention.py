"""Multi-head self-attention and cross-attention (Vaswani et al., "Attention is all you need", NeurIPS 2017).

Both use torch's `scaled_dot_product_attention`, whose fused kernels do not store the N x N attention weights.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.rotary import Rotation, rotate

#: is given the queries (B, heads, N, head width) and keys (B, heads, M, head width) of a cross-attention, after the
#: rotary embedding, and computes of them what it needs (see `attention_statistics`); fused kernels store no weights
AttentionObserver = Callable[[Tensor, Tensor], None]
#: maps queries, keys and values (B, heads, N, head width) to the mixed values in the shape of the queries
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def observed_by(observer: AttentionObserver | None) -> Attend | None:
    """The attention of all tokens to all, with its queries and keys shown to `observer`; None without one."""
    if observer is None:
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        observer(query, key)
        return scaled_dot_product_attention(query, key, value)

    return attend


class SelfAttention(nn.Module):
    """Attention of tokens (B, N, width) to each other.

    `normalize_queries_and_keys`: a LayerNorm over the features of each head, before the rotary embedding.
    """

    def __init__(self, width: int, heads: int, *, normalize_queries_and_keys: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm: nn.Module = nn.LayerNorm(width // heads) if normalize_queries_and_keys else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(width // heads) if normalize_queries_and_keys else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rotation: Rotation | None = None, attend: Attend | None = None) -> Tensor:
        """Maps tokens (B, N, width) to the same shape. `attend` replaces the attention of all tokens to all."""
        batch, count, width = tokens.shape
        qkv = linear(self.qkv, tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        query, key = self.q_norm(query), self.k_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        # under autocast the norms return float32, but queries, keys and values must have one type
        mixed = (attend or scaled_dot_product_attention)(query.to(value.dtype), key.to(value.dtype), value)
        return linear(self.proj, mixed.transpose(1, 2).reshape(batch, count, width))


class CrossAttention(nn.Module):
    """Attention of tokens (B, N, width) to the tokens of another sequence (B, M, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        rotation: Rotation | None = None,
        memory_rotation: Rotation | None = None,
        observer: AttentionObserver | None = None,
    ) -> Tensor:
        """Attends from `tokens` to `memory`; the result has the shape of `tokens`."""
        query = self._split(linear(self.projq, tokens))
        key, value = self._split(linear(self.projk, memory)), self._split(linear(self.projv, memory))
        if rotation is not None:
            query = rotate(query, rotation)
        if memory_rotation is not None:
            key = rotate(key, memory_rotation)
        if observer is not None:
            observer(query, key)
        mixed = scaled_dot_product_attention(query, key, value)
        return linear(self.proj, mixed.transpose(1, 2).flatten(2))

    def _split(self, features: Tensor) -> Tensor:
        batch, count, width = features.shape
        return features.view(batch, count, self.heads, width // self.heads).transpose(1, 2)

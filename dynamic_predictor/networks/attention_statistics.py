"""Statistics of an attention from its queries and keys, for observers of `networks.attention.AttentionObserver`.

Queries are (B, heads, N, D), keys (B, heads, M, D), after the rotary embedding. Logits are q . k / sqrt(D), weights
their softmax over the keys. Nothing here is kept for gradients.
"""

import math

import torch
from torch import Tensor


@torch.no_grad()
def mean_logits(query: Tensor, key: Tensor) -> Tensor:
    """The mean of every query's logits over heads and keys, (B, N) float32. With the arguments exchanged: that of every
    key's over heads and queries. The logits themselves are never computed, since their mean is a product of q with the
    mean of k."""
    query, key = query.float(), key.float()
    logits = (query @ key.mean(dim=2, keepdim=True).transpose(-1, -2))[..., 0] / math.sqrt(query.shape[-1])
    return logits.mean(dim=1)


@torch.no_grad()
def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """The softmax weights (B, heads, N, M) float32."""
    return torch.softmax(query.float() @ key.float().transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)


@torch.no_grad()
def attention_entropy(query: Tensor, key: Tensor) -> Tensor:
    """The entropy of every query's weights in [0, 1], 1 = all keys alike, mean over heads, (B, N) float32."""
    weights = attention_weights(query, key)
    entropy = -(weights * weights.clamp_min(1e-12).log()).sum(dim=-1)
    return (entropy / max(math.log(key.shape[2]), 1e-12)).clamp(0.0, 1.0).mean(dim=1)


@torch.no_grad()
def attention_received(query: Tensor, key: Tensor) -> Tensor:
    """The weight that every key receives, mean over heads and queries, (B, M) float32; it sums to 1."""
    return attention_weights(query, key).mean(dim=(1, 2))

"""Motion from the cross-attention of two-view networks (Chen et al., "Easi3R: Estimating Disentangled Motion from
DUSt3R Without Training", ICCV 2025).

In the pair (i, j), decoder 1 attends from image i, the reference view, to image j, the source view; decoder 2 attends
from j to i. A token's received attention is the mean over all queries of its logits q . k / sqrt(d), one number per
layer and head. Over the pairs of a temporal window, its mean and standard deviation are taken for every frame as source
and for every frame as reference. Tokens that move receive little and varying attention as source, because they fit no
epipolar geometry, and much and steady attention as reference.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dynamic_predictor.attention_motion.unit_range import unit_range, unit_range_per_frame


def received_attention(query: Tensor, key: Tensor) -> Tensor:
    """The attention that keys receive (B, heads, M), float32: the mean over the queries of their logits before softmax.

    `query` (B, heads, N, d), `key` (B, heads, M, d). The mean of q . k over q is (the mean of q) . k, so the N x M
    logits are never computed.
    """
    mean_query = query.float().mean(dim=-2, keepdim=True)
    return (mean_query * key.float()).sum(dim=-1) / query.shape[-1] ** 0.5


class AttentionMoments:
    """Running mean and variance over pairs of the attention that the tokens of F frames receive in one role, by
    Welford's method: memory does not grow with the number of pairs."""

    def __init__(self, frames: int, channels: int, tokens: int, device: torch.device | str = "cpu") -> None:
        """`channels`: layers times heads."""
        shape = (frames, channels, tokens)
        self._counts = torch.zeros(frames, dtype=torch.long)
        self._means = torch.zeros(shape, device=device)
        self._squares = torch.zeros(shape, device=device)

    def add(self, frame: int, received: Tensor) -> None:
        """One more pair: the attention (channels, tokens) that the tokens of `frame` receive."""
        self._counts[frame] += 1
        difference = received - self._means[frame]
        self._means[frame] += difference / self._counts[frame].item()
        self._squares[frame] += difference * (received - self._means[frame])

    def mean(self) -> Tensor:
        """Mean over pairs and channels (F, tokens)."""
        return self._means.mean(dim=1)

    def deviation(self) -> Tensor:
        """Standard deviation over pairs, then mean over channels (F, tokens); 0 with less than two pairs."""
        divisors = (self._counts - 1).clamp_min(1).to(self._squares.device)[:, None, None]
        return (self._squares / divisors).sqrt().mean(dim=1)


@dataclass
class RoleStatistics:
    """What is known of F frames in one role, each map (F, rows, columns)."""

    mean: Tensor
    deviation: Tensor


def role_statistics(moments: AttentionMoments, rows: int, columns: int) -> RoleStatistics:
    """The maps of `moments`, in which the first token has the mean of its right and its lower neighbor: networks use it
    as a register, whose attention says nothing about the image (as in Easi3R's code)."""
    mean, deviation = (
        _without_first_token(values.unflatten(1, (rows, columns))) for values in (moments.mean(), moments.deviation())
    )
    return RoleStatistics(mean, deviation)


def cross_attention_motion(source: RoleStatistics, reference: RoleStatistics) -> Tensor:
    """Motion maps (F, rows, columns) in [0, 1], each with the maximum 1 unless nothing moves.

    Easi3R: (1 - mean of source) * deviation of source * mean of reference * (1 - deviation of reference), each factor
    shifted and scaled to [0, 1] over the clip, the product over its frame. Easi3R scales all channels together once
    more before their mean; the later scaling of the mean cancels that.
    """
    product = (
        (1 - unit_range(source.mean))
        * unit_range(source.deviation)
        * unit_range(reference.mean)
        * (1 - unit_range(reference.deviation))
    )
    return unit_range_per_frame(product)


def _without_first_token(maps: Tensor) -> Tensor:
    if min(maps.shape[1:]) < 2:
        return maps
    maps = maps.clone()
    maps[:, 0, 0] = (maps[:, 0, 1] + maps[:, 1, 0]) / 2
    return maps

"""What a stream forgets: the choice of the frames or tokens that are kept when memory is bounded.

Frames, whole: a sliding window, or those whose mean keys differ most (FrameVGGT, Xu and Oishi, 2026: frames are kept
whole because tokens of one view support each other). Tokens: those with the highest scores (OVGGT, Lu et al., 2026),
some of the others are merged into anchors (StreamCacheVGGT, 2026). Anchors, by which a stream remembers distant places,
are few frames that are far apart in time, seen well, and new. The first frame, which defines the world, always stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

#: least number of frames between anchors
ANCHOR_SPACING = 8
#: weight of the past in the running means that anchors are compared with
_MEMORY = 0.9
#: share of the forgotten tokens that are merged into anchors
MERGED_SHARE = 0.15
#: a token of an anchor is the mean of at most so many tokens, so that it still stands for its place
MOST_MERGED = 4
#: weight of the scores of new tokens against those of old ones
_NEW_WEIGHT = 0.5


def window_frames(numbers: np.ndarray, budget: int) -> np.ndarray:
    """Which of frames with `numbers` (..., n) are kept (..., n), bool: the first one, number 0, and the latest ones,
    together `budget`. With fewer frames all of them."""
    rank = np.argsort(np.argsort(-numbers, axis=-1), axis=-1)
    first = numbers == 0
    latest = np.where(first.any(axis=-1, keepdims=True), budget - 1, budget)
    return first | (rank < latest)


def farthest_frames(prototypes: Tensor, protected: np.ndarray, budget: int) -> np.ndarray:
    """Which of n frames are kept (G, n), bool, in each of G groups: the `protected` ones (G, n) bool, at least one, and
    those added one by one that are least similar to the most similar frame that is already kept, together `budget`.

    `prototypes` (G, n, D) have unit length; similarity is their cosine. Of equals the earlier one is chosen.
    """
    kept = torch.from_numpy(protected.copy())
    similarity = (prototypes @ prototypes.transpose(-1, -2)).float().cpu()
    nearest = similarity.masked_fill(~kept[:, None, :], -torch.inf).amax(dim=-1)  # (G, n)
    groups = torch.arange(len(kept))
    for _ in range(budget - int(protected.sum(axis=-1).min())):
        chosen = nearest.masked_fill(kept, torch.inf).argmin(dim=-1)
        needed = kept.sum(dim=-1) < budget
        kept[groups[needed], chosen[needed]] = True
        update = torch.maximum(nearest, similarity[groups, chosen])
        nearest = torch.where(needed[:, None], update, nearest)
    return kept.numpy()


@dataclass
class Anchors:
    """The anchors of one clip, at most `most`; the first frame is not among them.

    A frame becomes one if the last anchor is `spacing` frames ago, and both its quality and its novelty are at least
    their running means. One too many: the one most similar to another one, or to the first frame, is none any longer.
    """

    most: int
    spacing: int = ANCHOR_SPACING
    #: numbers of the anchors, in the order in which they were found
    frames: list[int] = field(default_factory=list)
    _latest: int = 0
    _mean_quality: float = 0.0
    _mean_novelty: float = 0.0
    #: prototypes (1 + anchors, L, D) of the first frame and the anchors
    _prototypes: Tensor | None = None

    def consider(self, number: int, quality: float, prototype: Tensor) -> None:
        """Is told of every frame: its `number` in the stream, its `quality` (confidence times sharpness), and its mean
        keys (L, D) in each of L blocks, of unit length. Novelty is 1 - the largest mean cosine with the first frame or
        an anchor."""
        prototype = prototype.float().cpu()
        if self._prototypes is None:
            self._prototypes = prototype[None].clone()
            self._latest, self._mean_quality = number, quality
            return
        novelty = 1.0 - float((self._prototypes * prototype).sum(dim=-1).mean(dim=-1).max())
        far = number - self._latest >= self.spacing
        if self.most and far and quality >= self._mean_quality and novelty >= self._mean_novelty:
            self.frames.append(number)
            self._latest = number
            self._prototypes = torch.cat([self._prototypes, prototype[None]])
            if len(self.frames) > self.most:
                self._drop_most_similar()
        self._mean_quality = _MEMORY * self._mean_quality + (1 - _MEMORY) * quality
        self._mean_novelty = _MEMORY * self._mean_novelty + (1 - _MEMORY) * novelty

    def _drop_most_similar(self) -> None:
        assert self._prototypes is not None
        flat = self._prototypes.flatten(1)
        similarity = (flat @ flat.T).fill_diagonal_(-torch.inf).amax(dim=-1)[1:]
        gone = int(similarity.argmax())  # of two equals the earlier one
        del self.frames[gone]
        self._prototypes = torch.cat([self._prototypes[: gone + 1], self._prototypes[gone + 2 :]])

    def state(self) -> dict[str, np.ndarray]:
        """Copies of what `restore` needs."""
        arrays = {
            "frames": np.array(self.frames, np.int64),
            "means": np.array([self._latest, self._mean_quality, self._mean_novelty], np.float64),
        }
        if self._prototypes is not None:
            arrays["prototypes"] = self._prototypes.numpy().copy()
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The reverse of `state`."""
        self.frames = [int(number) for number in arrays["frames"]]
        latest, self._mean_quality, self._mean_novelty = (float(mean) for mean in arrays["means"])
        self._latest = int(latest)
        found = arrays.get("prototypes")
        self._prototypes = None if found is None else torch.from_numpy(np.array(found))


def token_scores(keys: Tensor, residuals: Tensor, candidates: Tensor) -> Tensor:
    """Scores (B, N) of tokens with `keys` (B, heads, N, d), of which those of the newest frame are the last.

    New tokens: the norm of what the feed-forward layer added, `residuals` (B, P). Old ones: 1 - the mean cosine, over
    the heads, with the mean key. Each is brought to [0, 1] among the `candidates` (B, N) bool, and then halved.
    """
    new = residuals.shape[1]
    directions = normalize(keys.float(), dim=-1)
    weights = candidates[:, None, :, None].float()
    mean = (directions * weights).sum(dim=2, keepdim=True) / weights.sum(dim=2, keepdim=True).clamp_min(1)
    diversity = 1 - (directions * mean).sum(dim=-1).mean(dim=1)
    old = _between_0_and_1(diversity[:, :-new], candidates[:, :-new]) * (1 - _NEW_WEIGHT)
    fresh = _between_0_and_1(residuals.float(), torch.ones_like(residuals, dtype=torch.bool)) * _NEW_WEIGHT
    return torch.cat([old, fresh], dim=1)


def _between_0_and_1(values: Tensor, counted: Tensor) -> Tensor:
    if values.shape[1] == 0:
        return values
    lowest = values.masked_fill(~counted, torch.inf).amin(dim=1, keepdim=True)
    highest = values.masked_fill(~counted, -torch.inf).amax(dim=1, keepdim=True)
    return (values - lowest) / (highest - lowest).clamp_min(1e-8)


def chosen_tokens(scores: Tensor, protected: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """The tokens that are kept (B, budget), ascending, and those that are merged (B, m), of those with `scores` (B, N).

    Kept are the `protected` ones (B, N) bool and those with the highest scores; merged are the `MERGED_SHARE` of the
    others with the highest scores.
    """
    ranked = scores.masked_fill(protected, torch.inf)
    merged = int(MERGED_SHARE * (scores.shape[1] - budget))
    order = ranked.topk(budget + merged, dim=1).indices
    return order[:, :budget].sort(dim=1).values, order[:, budget:]


def merge_tokens(
    keys: Tensor, values: Tensor, weights: Tensor, targets: Tensor, merged: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values (heads, t, d) and weights (t,) of the `targets` (t,) of one clip after the tokens `merged` (m,) are
    merged into them, of `keys` and `values` (heads, N, d) with `weights` (N,).

    Each goes into the target whose key is most similar, by the cosine over all heads, and becomes part of its weighted
    mean; targets that consist of `MOST_MERGED` tokens or more remain as they are.
    """
    directions = normalize(keys.float().transpose(0, 1).flatten(1), dim=-1)
    nearest = (directions[merged] @ directions[targets].T).argmax(dim=1)
    share = weights[merged] * (weights[targets][nearest] < MOST_MERGED)
    total = weights[targets].index_add(0, nearest, share)
    means = []
    for numbers in (keys, values):
        part = numbers.float()
        sums = part[:, targets] * weights[targets][:, None]
        sums = sums.index_add(1, nearest, part[:, merged] * share[:, None])
        means.append((sums / total[:, None]).to(numbers.dtype))
    return means[0], means[1], total

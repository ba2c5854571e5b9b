"""The rules by which a cache forgets, in plain words, to compare the fast ones with."""

import numpy as np

from dynamic_predictor.streamvggt.cache_policies import ANCHOR_SPACING


def slow_farthest(prototypes, protected, budget):
    """Places of the kept frames, ascending, see `farthest_frames`."""
    kept = [int(frame) for frame in np.flatnonzero(protected)]
    while len(kept) < min(budget, len(prototypes)):
        best, least = None, np.inf
        for frame in range(len(prototypes)):
            if frame in kept:
                continue
            similarity = max(float(prototypes[frame] @ prototypes[other]) for other in kept)
            if similarity < least:
                best, least = frame, similarity
        kept.append(best)
    return sorted(kept)


class SlowAnchors:
    """The rule of `Anchors` in plain words."""

    def __init__(self, most):
        self.most, self.anchors, self.first, self.latest = most, [], None, 0
        self.quality, self.novelty = 0.0, 0.0

    def consider(self, number, quality, prototype):
        if self.first is None:
            self.first, self.quality = prototype, quality
            return
        others = [self.first, *(anchor[1] for anchor in self.anchors)]
        novelty = 1 - max(np.mean([a @ b for a, b in zip(prototype, other, strict=True)]) for other in others)
        if number - self.latest >= ANCHOR_SPACING and quality >= self.quality and novelty >= self.novelty:
            self.anchors.append((number, prototype))
            self.latest = number
            if len(self.anchors) > self.most:
                self.anchors.pop(self._most_similar())
        self.quality = 0.9 * self.quality + 0.1 * quality
        self.novelty = 0.9 * self.novelty + 0.1 * novelty

    def _most_similar(self):
        largest = []
        for index, (_, prototype) in enumerate(self.anchors):
            others = [self.first, *(anchor[1] for place, anchor in enumerate(self.anchors) if place != index)]
            largest.append(max(np.sum(prototype * other) for other in others))
        return int(np.argmax(largest))


def slow_scores(keys, residuals, candidates):
    """Scores of the tokens of one clip, see `token_scores`."""
    new = len(residuals)
    directions = keys / np.linalg.norm(keys, axis=-1, keepdims=True)  # (heads, N, d)
    mean = directions[:, candidates].mean(axis=1)
    cosines = [[one[token] @ center for one, center in zip(directions, mean, strict=True)] for token in range(40)]
    diversity = np.array([1 - np.mean(heads) for heads in cosines])[:-new]
    counted = diversity[candidates[:-new]]
    old = (diversity - counted.min()) / (counted.max() - counted.min())
    fresh = (residuals - residuals.min()) / (residuals.max() - residuals.min())
    return 0.5 * np.concatenate([old, fresh])

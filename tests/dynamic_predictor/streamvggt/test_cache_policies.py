"""The choice of frames and tokens against slow twins, and what must hold for any input."""

import numpy as np
import pytest
import torch

from dynamic_predictor.streamvggt.cache_policies import (
    MERGED_SHARE,
    MOST_MERGED,
    Anchors,
    chosen_tokens,
    farthest_frames,
    merge_tokens,
    token_scores,
    window_frames,
)
from tests.dynamic_predictor.streamvggt.slow_policies import SlowAnchors, slow_farthest, slow_scores


def _directions(generator, *shape):
    found = generator.normal(size=shape)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_window():
    numbers = np.array([[0, 7, 5, 6, 8], [9, 0, 8, 7, 6], [4, 5, 6, 7, 8]])
    kept = window_frames(numbers, 3)
    assert [sorted(row[mask].tolist()) for row, mask in zip(numbers, kept, strict=True)] == [
        [0, 7, 8], [0, 8, 9], [6, 7, 8]
    ]  # fmt: skip
    assert window_frames(numbers[:, :3], 3)[:2].all()


@pytest.mark.parametrize("seed", range(4))
def test_farthest_frames_are_those_of_a_slow_twin(seed):
    generator = np.random.default_rng(seed)
    prototypes = _directions(generator, 6, 13, 5)
    protected = generator.random((6, 13)) < 0.25
    protected[:, 0] = True
    budget = max(8, int(protected.sum(axis=1).max()))
    kept = farthest_frames(torch.from_numpy(prototypes), protected, budget)
    for group in range(6):
        assert np.flatnonzero(kept[group]).tolist() == slow_farthest(prototypes[group], protected[group], budget)
    assert (kept | ~protected).all() and (kept.sum(axis=1) == budget).all()


def test_of_equal_frames_all_but_one_are_forgotten_first():
    prototypes = np.eye(4)[[0, 1, 1, 1, 2, 3]]
    protected = np.zeros((1, 6), bool)
    protected[0, 0] = True
    kept = farthest_frames(torch.from_numpy(prototypes[None]), protected, 4)
    assert np.flatnonzero(kept[0]).tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("most", [1, 3])
def test_anchors_are_those_of_a_slow_twin(most):
    generator = np.random.default_rng(most)
    anchors, slow = Anchors(most), SlowAnchors(most)
    changes = 0
    for number in range(150):
        prototype, quality = _directions(generator, 2, 4).astype(np.float32), float(generator.random())
        before = list(anchors.frames)
        anchors.consider(number, quality, torch.from_numpy(prototype))
        slow.consider(number, quality, prototype)
        assert anchors.frames == [anchor[0] for anchor in slow.anchors]
        assert len(anchors.frames) <= most and 0 not in anchors.frames
        changes += anchors.frames != before
    assert changes > most  # some were replaced
    other = Anchors(most)
    other.restore(anchors.state())
    assert other.state().keys() == anchors.state().keys()
    for number in range(150, 200):
        prototype, quality = _directions(generator, 2, 4).astype(np.float32), float(generator.random())
        for one in (anchors, other):
            one.consider(number, quality, torch.from_numpy(prototype))
    assert other.frames == anchors.frames


def test_no_anchors():
    anchors = Anchors(0)
    for number in range(40):
        anchors.consider(number, float(number), torch.eye(4)[number % 4][None])
    assert anchors.frames == []


def test_token_scores_and_choice_are_those_of_a_slow_twin():
    generator = np.random.default_rng(0)
    keys, residuals = generator.normal(size=(2, 3, 40, 6)), generator.random((2, 12))
    protected = np.zeros((2, 40), bool)
    protected[:, :9] = True
    scores = token_scores(torch.from_numpy(keys), torch.from_numpy(residuals), torch.from_numpy(~protected)).numpy()
    kept, merged = chosen_tokens(torch.from_numpy(scores), torch.from_numpy(protected), 20)
    for clip in range(2):
        slow = slow_scores(keys[clip], residuals[clip], ~protected[clip])
        np.testing.assert_allclose(scores[clip][9:], slow[9:], atol=1e-5)
        ranked = sorted(range(9, 40), key=lambda token: -slow[token])
        assert kept[clip].tolist() == sorted([*range(9), *ranked[:11]])
        assert merged[clip].tolist() == ranked[11 : 11 + int(MERGED_SHARE * 20)]


def test_merging_is_that_of_a_slow_twin():
    generator = np.random.default_rng(1)
    keys, values = generator.normal(size=(2, 10, 4)), generator.normal(size=(2, 10, 4))
    weights = np.array([1.0, 2.0, MOST_MERGED, 1, 1, 1, 1, 3, 1, 1])
    targets, merged = np.array([0, 1, 2]), np.array([5, 7, 8, 9])
    found = merge_tokens(*(torch.from_numpy(part) for part in (keys, values, weights, targets, merged)))
    sums = {int(target): [weights[target], weights[target] * keys[:, target], weights[target] * values[:, target]]
            for target in targets}  # fmt: skip
    for token in merged:
        flat = keys.transpose(1, 0, 2).reshape(10, -1)
        similarity = [
            flat[token] @ flat[target] / np.linalg.norm(flat[token]) / np.linalg.norm(flat[target])
            for target in targets
        ]
        target = int(targets[int(np.argmax(similarity))])
        if weights[target] < MOST_MERGED:
            sums[target][0] += weights[token]
            sums[target][1] = sums[target][1] + weights[token] * keys[:, token]
            sums[target][2] = sums[target][2] + weights[token] * values[:, token]
    for place, target in enumerate(targets):
        total, key_sum, value_sum = sums[int(target)]
        np.testing.assert_allclose(found[0][:, place], key_sum / total, atol=1e-6)
        np.testing.assert_allclose(found[1][:, place], value_sum / total, atol=1e-6)
        assert float(found[2][place]) == pytest.approx(total)
    assert float(found[2][2]) == MOST_MERGED

"""The vote of several candidates per pixel."""

import numpy as np

from stillsplat.plate.voting import median_index, vote


def test_the_median_of_weights() -> None:
    values = np.array([5.0, 1.0, 3.0]).reshape(3, 1, 1)
    for weights, expected in (((1, 1, 1), 3.0), ((9, 1, 1), 5.0), ((0, 1, 0), 1.0)):
        index = median_index(values, np.array(weights, float).reshape(3, 1, 1))[0, 0]
        assert values[index, 0, 0] == expected


def test_one_wrong_candidate_of_five_does_not_count() -> None:
    candidates = np.full((5, 4, 6, 3), 0.4)
    candidates += np.random.default_rng(0).normal(0, 0.005, candidates.shape)
    candidates[2] = 0.9
    found = vote(candidates, np.ones((5, 4, 6)))
    assert np.abs(found.color - 0.4).max() < 0.015 and found.spread.max() < 0.02
    assert (found.support > 3.5).all() and (found.support < 4.5).all()


def test_places_that_nobody_sees() -> None:
    found = vote(np.full((2, 3, 3, 3), 0.7), np.zeros((2, 3, 3)))
    assert not found.color.any() and not found.support.any()

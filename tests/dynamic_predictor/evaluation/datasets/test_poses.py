"""Association of images and poses by time."""

import numpy as np

from dynamic_predictor.evaluation.datasets.poses import associate


def test_association_equals_brute_force() -> None:
    """Brute force: sort all pairs by difference and take each that is free."""
    generator = np.random.default_rng(0)
    first, second = np.sort(generator.uniform(0, 2, 60)), generator.uniform(0, 2, 150)
    expected, left, right = [], set(range(60)), set(range(150))
    for _, i, j in sorted((abs(a - b), i, j) for i, a in enumerate(first) for j, b in enumerate(second)):
        if abs(first[i] - second[j]) < 0.02 and i in left and j in right:
            left.remove(i)
            right.remove(j)
            expected.append((i, j))
    assert associate(first, second, 0.02) == sorted(expected)

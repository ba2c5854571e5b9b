"""The normalization of point maps by hand; test_scores_of_cut3r compares it with the official one."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.point_maps import align_point_maps, central_window


def test_scale_and_depth_are_undone() -> None:
    true = [np.random.default_rng(view).normal([0, 0, 5], [1, 2, 0.5], (101, 3)) for view in range(2)]
    predicted = [0.2 * points + [0, 0, 7] for points in true]
    found = align_point_maps(predicted, true)
    for ours, theirs in zip(predicted, true, strict=True):
        np.testing.assert_allclose(found.apply(ours), theirs, atol=1e-12)
    # a shift sideways is left to the registration
    found = align_point_maps([points + [1, 0, 0] for points in true], true)
    np.testing.assert_allclose(found.apply(true[0] + [1, 0, 0]), true[0] + [1, 0, 0], atol=1e-12)


def test_medians_are_the_lower_ones() -> None:
    points = np.array([[0.0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 0, 10]])
    found = align_point_maps([points], [points])
    assert found.true_shift == 2 and found.true_scale == 1  # distances from z = 2: 1, 0, 2, 8
    with pytest.raises(ValueError, match="without any valid point"):
        align_point_maps([points[:0]], [points])
    collapsed = align_point_maps([np.zeros((4, 3))], [points])
    assert collapsed.predicted_scale == 1e-3


def test_the_window_in_the_middle() -> None:
    assert central_window(384, 512) == (slice(80, 304), slice(144, 368))
    assert central_window(64, 300) == (slice(0, 64), slice(38, 262))

"""Otsu thresholds against every possible threshold, and against OpenCV."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from dynamic_predictor.attention_motion.threshold import motion_threshold, otsu_thresholds, value_histogram


def _variance_between(values: np.ndarray, last_bins: tuple[int, ...]) -> float:
    classes = np.digitize(values, [bin_number + 0.5 for bin_number in last_bins])
    mean = values.mean()
    return sum((classes == k).mean() * (values[classes == k].mean() - mean) ** 2 for k in np.unique(classes))


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_thresholds_maximize_the_variance_between_classes(classes, seed):
    values = np.random.default_rng(seed).integers(0, 14, 60)
    found = otsu_thresholds(np.bincount(values, minlength=16), classes)
    assert found == sorted(found) and len(found) == classes - 1
    best = max(_variance_between(values, chosen) for chosen in combinations(range(15), classes - 1))
    assert _variance_between(values, tuple(found)) == pytest.approx(best)


def test_two_classes_as_opencv_finds_them():
    rng = np.random.default_rng(0)
    image = np.clip(np.concatenate([rng.normal(60, 20, 4000), rng.normal(180, 25, 1500)]), 0, 255).astype(np.uint8)
    expected, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)
    assert otsu_thresholds(np.bincount(image, minlength=256), 2) == [int(expected)]


def test_the_threshold_separates_a_bright_object():
    rng = np.random.default_rng(0)
    maps = rng.uniform(0.0, 0.3, (3, 20, 20))
    maps[:, 5:10, 5:10] = rng.uniform(0.7, 1.0, (3, 5, 5))
    limit = motion_threshold(value_histogram(maps))
    assert 0.3 < limit < 0.72
    # three levels: only the highest is what moves
    maps[:, 12:18, 2:8] = rng.uniform(0.45, 0.5, (3, 6, 6))
    assert 0.5 <= motion_threshold(value_histogram(maps)) < 0.72


def test_nothing_moves_where_all_values_are_equal():
    for value in (0.0, 0.4, 1.0):
        limit = motion_threshold(value_histogram([np.full((4, 4), value)]))
        assert not value > limit
    with pytest.raises(ValueError, match="classes"):
        otsu_thresholds(np.bincount([3, 3, 3], minlength=8), 2)

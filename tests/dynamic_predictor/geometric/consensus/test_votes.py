"""Votes of superpixels against a plain double loop, and thresholds against numbers worked out by hand."""

import numpy as np
import pytest

from dynamic_predictor.geometric.consensus.votes import clip_threshold, strongest, thresholds, votes
from dynamic_predictor.geometric.segment_graph import FrameSegments


def tiles(colors: np.ndarray, spacing: int = 16) -> FrameSegments:
    """One frame of square superpixels with these `colors` (rows, columns, 3), without evidence."""
    rows, columns = colors.shape[:2]
    labels = np.arange(rows * columns).reshape(rows, columns).repeat(spacing, axis=0).repeat(spacing, axis=1)
    count = rows * columns
    y, x = np.divmod(np.arange(count), columns)
    position = (np.column_stack([x, y]) + 0.5) * spacing
    zeros = np.zeros(count)
    return FrameSegments(
        labels,
        np.full(count, spacing**2),
        colors.reshape(count, 3),
        position,
        np.zeros((count, 2)),
        zeros,
        zeros,
        zeros,
    )


def test_votes_are_those_of_a_double_loop():
    rng = np.random.default_rng(5)
    frames = [tiles(rng.uniform(0.3, 0.5, (3, 6, 3))) for _ in range(3)]
    values = rng.uniform(0.0, 12.0, (54, 2))
    place = [(time, s.color[k], s.position[k]) for time, s in enumerate(frames) for k in range(s.count)]
    expected = np.zeros((54, 2))
    for i, (time, color, position) in enumerate(place):
        total = 0.0
        for j, (other_time, other_color, other_position) in enumerate(place):
            squared = np.sum((color - other_color) ** 2) / 0.06**2
            squared += np.sum((position - other_position) ** 2) / 45.0**2 + (time - other_time) ** 2 / 12.0**2
            weight = np.exp(-0.5 * squared)
            expected[i] += weight * values[j]
            total += weight
        expected[i] /= total
    np.testing.assert_allclose(votes(frames, values, unit=0.5), expected, rtol=1e-10)


def test_a_single_wrong_opinion_is_outvoted_only_by_what_looks_alike():
    colors = np.full((8, 16, 3), 0.3)
    colors[:, 8:] = 0.7
    frames = [tiles(colors) for _ in range(4)]
    evidence = np.where(frames[0].color[:, 0] > 0.5, 8.0, -4.0)
    wrong = 3 * 16 + 7
    values = np.concatenate([evidence] * 4)
    values[wrong] = 12.0
    voted = votes(frames, values[:, None], unit=1.0)[:, 0]
    assert voted[wrong] < -2.0
    # its neighbor on the other side of the edge keeps its opinion
    assert voted[wrong + 1] == pytest.approx(8.0, abs=0.01)


def test_the_strongest_evidence_is_that_of_the_top_percent_of_the_area():
    evidence = np.array([9.0, 1.0, 7.0, 0.0])
    assert strongest(evidence, np.array([4, 300, 20, 676])) == 7.0
    assert strongest(evidence, np.array([40, 300, 20, 640])) == 9.0


def test_a_clip_without_evidence_gets_a_high_threshold_and_one_with_weak_evidence_a_low_one():
    assert clip_threshold(0.0) > 0.5
    assert clip_threshold(2.0) < -1.0
    assert clip_threshold(12.0) == 0.0


def test_more_evidence_is_needed_near_strong_evidence():
    frame = tiles(np.full((18, 32, 3), 0.5))
    columns = np.arange(frame.count) % 32
    voted = np.where(columns < 4, 10.0, -4.0)
    found = thresholds([frame], voted, strength=10.0, unit=1.0)
    assert found[columns == 1] == pytest.approx(np.full(18, 0.6 * 10.0 - 3.0), abs=0.05)
    assert found[columns > 20] == pytest.approx(np.zeros(11 * 18), abs=1e-6)
    between = [float(found[columns == column].mean()) for column in range(2, 14)]
    assert np.all(np.diff(between) <= 1e-6)
    # the strongest of the clip bounds it
    assert thresholds([frame], 2.0 * voted, strength=8.0, unit=1.0).max() == pytest.approx(0.6 * 8.0 - 3.0, abs=0.05)

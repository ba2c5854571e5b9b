"""Nearest-neighbor distances in bounded time, against brute force."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.scores import nearest
from dynamic_predictor.evaluation.scores.nearest import all_distances, near_distances
from dynamic_predictor.evaluation.scores.surfaces import score_surface


class RecordedProgress:
    """Records the totals that progress reports."""

    def __init__(self) -> None:
        self.totals: list[int] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.totals.append(total)


def sphere(count: int, radius: float) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_a_distant_surface_needs_few_queries():
    """All points of the surface are about equally far: a search tree would compute 4e10 distances."""
    room = np.random.default_rng(1).uniform([-4, -1.5, -3], [4, 1.5, 3], (200_000, 3))
    far = sphere(200_000, 100.0)
    progress = RecordedProgress()
    distances, counts = all_distances(room, far, 1.0, progress=progress)
    assert counts.sum() == 200_000 and len(counts) < 200
    # only the first search, at the smallest radius, queries all points
    assert progress.totals[0] == 200_000 and progress.totals[-1] < 200
    mean = np.average(distances, weights=counts)
    sample = room[::4000]
    exact = np.linalg.norm(sample[:, None] - far[None], axis=-1).min(axis=1)
    assert mean == pytest.approx(exact.mean(), rel=5e-3)
    scores = score_surface(far, room, 0.05)
    assert scores.precision == scores.recall == scores.f_score == 0.0
    assert scores.completeness == pytest.approx(mean) and 95 < scores.accuracy < 100


def test_near_distances_are_exact_and_far_ones_accurate(monkeypatch):
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 1, (5000, 3))
    predicted = np.concatenate([rng.uniform(0, 1, (5000, 3)), rng.uniform(-30, 30, (5000, 3))])
    exact = KDTree(truth).query(predicted)[0]
    monkeypatch.setattr(nearest, "BATCH", 700)
    progress = RecordedProgress()
    distances, counts = all_distances(predicted, truth, 1.0, progress=progress)
    near = exact < 1.0
    np.testing.assert_array_equal(distances[: near.sum()], exact[near])
    assert counts.sum() == len(predicted) and len(counts) < len(predicted)
    assert np.average(distances, weights=counts) == pytest.approx(exact.mean(), rel=2e-3)
    assert progress.totals.count(10_000) == 15
    cut_off = near_distances(predicted, truth, 0.5)
    np.testing.assert_array_equal(cut_off, np.where(exact < 0.5, exact, np.inf))

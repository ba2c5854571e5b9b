"""The reconstruction benchmark stays within bounds when a prediction is nonsense."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.scores import depth_fusion, dtu, nearest
from dynamic_predictor.evaluation.scores.depth_fusion import DistanceVolume
from dynamic_predictor.evaluation.scores.dtu import thin_by_distance
from dynamic_predictor.evaluation.scores.nearest import all_distances, near_distances
from dynamic_predictor.evaluation.scores.surfaces import score_surface
from scene.camera import Camera
from scene.errors import InputError


class Told:
    """Remembers what progress is told."""

    def __init__(self) -> None:
        self.totals: list[int] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.totals.append(total)


def sphere(count: int, radius: float) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_a_room_in_the_middle_of_a_far_surface_takes_few_queries():
    """All of the surface is about as far, so that each query would look at all of it: 4e10 distances."""
    room = np.random.default_rng(1).uniform([-4, -1.5, -3], [4, 1.5, 3], (200_000, 3))
    far = sphere(200_000, 100.0)
    told = Told()
    distances, counts = all_distances(room, far, 1.0, progress=told)
    assert counts.sum() == 200_000 and len(counts) < 200
    # those that look in vain for something nearer cost nothing
    assert told.totals[0] == 200_000 and told.totals[-1] < 200
    mean = np.average(distances, weights=counts)
    sample = room[::4000]
    exact = np.linalg.norm(sample[:, None] - far[None], axis=-1).min(axis=1)
    assert mean == pytest.approx(exact.mean(), rel=5e-3)
    scores = score_surface(far, room, 0.05)
    assert scores.precision == scores.recall == scores.f_score == 0.0
    assert scores.completeness == pytest.approx(mean) and 95 < scores.accuracy < 100


def test_near_distances_are_exact_and_far_ones_right_to_a_fraction_of_a_percent(monkeypatch):
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 1, (5000, 3))
    predicted = np.concatenate([rng.uniform(0, 1, (5000, 3)), rng.uniform(-30, 30, (5000, 3))])
    exact = KDTree(truth).query(predicted)[0]
    monkeypatch.setattr(nearest, "BATCH", 700)
    told = Told()
    distances, counts = all_distances(predicted, truth, 1.0, progress=told)
    near = exact < 1.0
    np.testing.assert_array_equal(distances[: near.sum()], exact[near])
    assert counts.sum() == len(predicted) and len(counts) < len(predicted)
    assert np.average(distances, weights=counts) == pytest.approx(exact.mean(), rel=2e-3)
    assert told.totals.count(10_000) == 15
    cut_off = near_distances(predicted, truth, 0.5)
    np.testing.assert_array_equal(cut_off, np.where(exact < 0.5, exact, np.inf))


def test_a_surface_far_larger_than_a_room_is_refused(monkeypatch):
    monkeypatch.setattr(depth_fusion, "_MAX_BLOCKS", 3000)
    camera = Camera(96, 64, 67.0, 67.0, 48.0, 32.0, np.eye(4))
    volume = DistanceVolume(4 / 512, 0.04)
    volume.integrate(np.full((64, 96), 1.5, np.float32), camera)
    assert len(volume.surface_points()) > 1000
    noise = np.random.default_rng(0).uniform(1, 500, (64, 96)).astype(np.float32)
    with pytest.raises(InputError, match="more than 3,000 cubes of 0.0625 units.*--mode=eval_pose") as caught:
        for _ in range(24):
            volume.integrate(noise, camera)
    assert "\n" not in str(caught.value)
    assert len(volume._keys) == len(volume._block_index) <= 3000


def test_surface_points_are_the_same_in_pieces(monkeypatch):
    camera = Camera(96, 64, 67.0, 67.0, 48.0, 32.0, np.eye(4))
    volume = DistanceVolume(0.02, 0.06)
    volume.integrate(np.random.default_rng(0).uniform(1.4, 1.5, (64, 96)).astype(np.float32), camera)
    whole = volume.surface_points()
    monkeypatch.setattr(depth_fusion, "_BLOCKS_AT_ONCE", 7)
    np.testing.assert_array_equal(volume.surface_points(), whole)


def test_points_in_one_place_are_thinned_without_long_lists(monkeypatch):
    listed = []

    class Listing(KDTree):
        def query_ball_point(self, *arguments, **options):
            found = super().query_ball_point(*arguments, **options)
            listed.append(sum(map(len, found)))
            return found

    monkeypatch.setattr(dtu, "KDTree", Listing)
    monkeypatch.setattr(dtu, "_NEIGHBORS_AT_ONCE", 20_000)
    collapsed = np.random.default_rng(0).normal(0, 1e-3, (20_000, 3))
    assert len(thin_by_distance(collapsed, 0.2)) == 1
    assert max(listed) <= 20_000

"""Consistent and thinned points of DTU's protocol."""

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.scores import dtu
from dynamic_predictor.evaluation.scores.dtu import consistent_points, thin_by_distance
from scene.camera import Camera
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import HALF, WALK


def test_points_of_a_single_view_are_dropped():
    scene_depths = np.stack([WALK.z_depth(index) for index in range(6)]).astype(np.float32)
    cameras = [
        Camera(96, 64, *WALK.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), WALK.world_from_camera(0))
        for _ in range(6)
    ]
    same = np.repeat(scene_depths[:1], 6, axis=0)
    assert len(consistent_points(same, cameras)) > 5 * 64 * 96
    wrong = same.copy()
    wrong[2, 10:20] *= 1.5
    assert len(consistent_points(wrong, cameras)) < len(consistent_points(same, cameras))
    np.testing.assert_allclose(np.abs(consistent_points(wrong, cameras) / HALF).max(axis=1), 1.0, atol=0.05)


def test_thinned_points_are_apart_and_cover_the_others():
    points = np.random.default_rng(0).uniform(0, 1, (3000, 3))
    thin = thin_by_distance(points, 0.1)
    assert KDTree(thin).query(thin, k=2)[0][:, 1].min() >= 0.1
    assert KDTree(thin).query(points)[0].max() <= 0.1


def test_memory_is_bounded_for_coinciding_points(monkeypatch):
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

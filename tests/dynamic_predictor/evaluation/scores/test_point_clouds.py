"""Registration, normals and scores of point clouds against Open3D and by hand."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.point_clouds import normals_of, register, score_point_clouds
from tests.paths import DATA


def test_registration_and_normals_equal_those_of_open3d() -> None:
    """Results of Open3D 0.20: `registration_icp` at 0.1, point to point, and `estimate_normals`, of curved surfaces."""
    with np.load(DATA / "open3d_registration.npz", allow_pickle=False) as golden:
        predicted, true = golden["predicted"].astype(np.float64), golden["true"].astype(np.float64)
        motion = register(predicted, true, 0.1)
        np.testing.assert_allclose(motion.matrix, golden["transformation"], atol=1e-12)
        ours = normals_of(motion.apply_to_points(predicted)), normals_of(true)
        for found, name in zip(ours, ("predicted_normals", "true_normals"), strict=True):
            np.testing.assert_allclose(np.abs((found * golden[name]).sum(axis=1)), 1.0, atol=1e-6)


def test_two_planes_by_hand() -> None:
    """A plane 0.1 above another of the same extent: every distance is 0.1, every normal agrees; a turned one has the
    cosine of its angle."""
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)
    true = np.column_stack([grid, np.zeros(len(grid))])
    above = true + [0, 0, 0.1]
    found = score_point_clouds(above, true, normals_of(above), normals_of(true))
    assert [found.accuracy, found.accuracy_median, found.completion, found.completion_median] == pytest.approx(
        [0.1] * 4
    )
    assert found.normal_consistency == pytest.approx(1.0) and found.predicted_points == found.true_points == 144
    turned = np.tile([0.0, np.sin(0.5), np.cos(0.5)], (144, 1))
    found = score_point_clouds(above, true, turned, normals_of(true))
    assert found.normals_of_predicted == pytest.approx(np.cos(0.5)) == found.normals_of_true_median
    half = score_point_clouds(above[:72], true, normals_of(above[:72]), normals_of(true))
    assert half.accuracy == pytest.approx(0.1) and half.completion > 1.0


def test_points_without_a_partner_are_not_moved() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_array_equal(register(points + 100, points, 0.1).matrix, np.eye(4))
    np.testing.assert_array_equal(normals_of(points[:2]), [[0, 0, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match="empty"):
        score_point_clouds(points[:0], points, points[:0], points)

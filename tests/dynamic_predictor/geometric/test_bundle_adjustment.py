"""Bundle adjustment on exact synthetic tracks, whose cameras are known."""

import numpy as np
import pytest

from dynamic_predictor.geometric.bundle_adjustment import adjust
from dynamic_predictor.geometric.reprojection import Problem, residual_norms
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, center_error, curved_path, synthetic_tracks

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")


def test_adjust_finds_the_exact_cameras_again():
    rng = np.random.default_rng(0)
    truth = curved_path()
    hosts, inverse_depths, _ = synthetic_tracks(truth, rng)
    start = truth.moved(0.02 * rng.standard_normal((13, 6)), 0.1)
    depths = [depth * np.exp(0.2 * rng.standard_normal(len(depth))) for depth in inverse_depths]
    problem = Problem(hosts, depths, [np.ones(host.count) for host in hosts], CENTER)
    solution = adjust(problem, start, depths, scale=0.1, iterations=60, depth_prior=0.0, tolerance=0.0)
    assert center_error(solution.poses, truth) < 1e-6
    assert solution.poses.focal == pytest.approx(truth.focal, rel=1e-6)
    assert max(np.nanmax(norm) for norm in residual_norms(problem, solution.poses, solution.inverse_depths)) < 1e-4


def test_without_tracks_the_cameras_stay_as_they_are():
    start = curved_path()
    solution = adjust(Problem([], [], [], CENTER), start, [], scale=1.0)
    np.testing.assert_allclose(solution.poses.translations, start.translations)
    np.testing.assert_allclose(solution.poses.rotations, start.rotations, atol=1e-12)

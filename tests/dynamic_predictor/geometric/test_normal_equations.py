"""The analytic derivatives against finite differences."""

from dataclasses import replace

import numpy as np
import pytest

from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.numpy_equations import linearize
from dynamic_predictor.geometric.reprojection import Problem, project_host, residual_norms
from dynamic_predictor.geometric.unknowns import Unknowns
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, curved_path, synthetic_tracks

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")


@pytest.mark.parametrize("radial", [None, RadialTerm("perspective", -0.15), RadialTerm("equidistant", 0.05)])
@pytest.mark.parametrize("per_frame", [6, 7])
def test_the_gradient_is_that_of_the_cost(per_frame, radial):
    # the gradient of the normal equations against finite differences of the cost, for each unknown
    rng = np.random.default_rng(1)
    truth = curved_path(count=5)
    hosts, depths, _ = synthetic_tracks(truth, rng, per_host=20, host_step=2)
    start = truth.moved(0.005 * rng.standard_normal((5, 6)), 0.02)
    if per_frame == 7:
        start = replace(start, zoom=0.1 * rng.standard_normal(5))
    start = replace(start, radial=radial)
    problem = Problem(hosts, depths, [np.ones(host.count) for host in hosts], CENTER)
    unknowns = Unknowns.of(np.ones(5, bool), per_frame == 7, radial is not None)
    assert unknowns.count == 5 * per_frame + (1 if radial is None else 2)
    # a huge scale makes the loss quadratic: the robust weights are 1
    system = linearize(problem, start, depths, 1e4, unknowns, 0.0)

    def half_squares(poses, inverse_depths):
        return 0.5 * sum(np.nansum(norm**2) for norm in residual_norms(problem, poses, inverse_depths)) / 1e8

    for unknown in range(unknowns.count):
        step = np.zeros(unknowns.count)
        step[unknown] = 1e-5
        of_frames = step[: unknowns.shared].reshape(5, per_frame)
        up = half_squares(start.moved(of_frames, *step[unknowns.shared :]), depths)
        down = half_squares(start.moved(-of_frames, *-step[unknowns.shared :]), depths)
        assert (up - down) / 2e-5 == pytest.approx(system.gradient[unknown], rel=2e-3, abs=1e-8)
    changed = [depth.copy() for depth in depths]
    changed[1][7] += 1e-6
    lowered = [depth.copy() for depth in depths]
    lowered[1][7] -= 1e-6
    gradient = (half_squares(start, changed) - half_squares(start, lowered)) / 2e-6
    assert gradient == pytest.approx(system.hosts[1].gradient[7], rel=2e-3)


@pytest.mark.parametrize("per_frame", [6, 7])
def test_the_matrix_is_that_of_the_residuals(per_frame):
    # the coupling of host, frames and shared unknowns, against finite differences of the gradient at zero residuals
    rng = np.random.default_rng(1)
    truth = replace(curved_path(count=4), radial=RadialTerm("equidistant", 0.05))
    if per_frame == 7:
        truth = replace(truth, zoom=0.1 * rng.standard_normal(4))
    hosts, depths, _ = synthetic_tracks(truth, rng, per_host=15, host_step=2)
    seen = [project_host(host, depth, truth, CENTER)[0] for host, depth in zip(hosts, depths, strict=True)]
    hosts = [replace(host, pixels=pixels) for host, pixels in zip(hosts, seen, strict=True)]
    problem = Problem(hosts, depths, [np.ones(host.count) for host in hosts], CENTER)
    unknowns = Unknowns.of(np.ones(4, bool), per_frame == 7, True)
    system = linearize(problem, truth, depths, 1e4, unknowns, 0.0)
    for unknown in range(unknowns.count):
        step = np.zeros(unknowns.count)
        step[unknown] = 1e-6
        of_frames = step[: unknowns.shared].reshape(4, per_frame)
        moved = truth.moved(of_frames, *step[unknowns.shared :])
        expected = linearize(problem, moved, depths, 1e4, unknowns, 0.0).gradient[: unknowns.count] / 1e-6
        largest = np.abs(expected).max()
        np.testing.assert_allclose(system.matrix[unknown, : unknowns.count], expected, atol=1e-3 * largest)

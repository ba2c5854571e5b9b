"""The compiled normal equations against those of NumPy, for every instruction set."""

from dataclasses import replace

import numpy as np
import pytest

from dynamic_predictor.geometric import normal_equations, reprojection
from dynamic_predictor.geometric.bundle_adjustment import adjust
from dynamic_predictor.geometric.compiled import compiled_problem
from dynamic_predictor.geometric.compiled_equations import CompiledEquations
from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.numpy_equations import NumpyEquations
from dynamic_predictor.geometric.reprojection import (
    Problem,
    compiled_cameras,
    project_host,
    residual_norms,
    residual_norms_with_numpy,
)
from dynamic_predictor.geometric.unknowns import Unknowns
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, center_error, curved_path, synthetic_tracks

kernels = pytest.importorskip(
    "bundle_adjustment",
    reason="the compiled bundle adjustment is not installed (pip install ./submodules/bundle-adjustment)",
)
pytestmark = pytest.mark.usefixtures("calm_linear_algebra")

LENSES = [None, RadialTerm("perspective", -0.15), RadialTerm("perspective", 0.1), RadialTerm("equidistant", 0.05)]


@pytest.fixture(params=["avx512", "avx2", "plain"])
def instruction_set(request):
    try:
        kernels.set_simd(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    kernels.set_simd("auto")


def problem_and_poses(seed=2, radial=None, with_zoom=False, per_host=75):
    """Tracks with noise and outliers, some of them behind a camera, and poses near the truth."""
    rng = np.random.default_rng(seed)
    truth = curved_path(count=7)
    hosts, depths, _ = synthetic_tracks(truth, rng, per_host=per_host, host_step=2)
    noisy = []
    for host in hosts:
        pixels = host.pixels + rng.standard_normal(host.pixels.shape)
        outliers = rng.random(host.visible.shape) < 0.1
        pixels[outliers] += 80 * rng.standard_normal((int(outliers.sum()), 2))
        visible = host.visible & (rng.random(host.visible.shape) < 0.8)
        pixels[~visible] = np.nan
        noisy.append(replace(host, pixels=pixels, visible=visible))
    weights = [rng.random(host.count) for host in noisy]
    depths = [depth * np.exp(0.3 * rng.standard_normal(len(depth))) for depth in depths]
    for depth in depths:
        depth[:3] *= 500.0  # in front of the host, but behind other cameras
    poses = replace(truth.moved(0.02 * rng.standard_normal((7, 6)), 0.05), radial=radial)
    if with_zoom:
        poses = replace(poses, zoom=0.1 * rng.standard_normal(7))
    return Problem(noisy, depths, weights, CENTER), poses


def pair(problem, poses, free, per_frame, *, free_depths=True):
    unknowns = Unknowns.of(free, per_frame == 7, poses.radial is not None)
    settings = dict(scale=0.7, depth_prior=0.02)
    return (
        CompiledEquations(kernels, problem, unknowns, **settings, free_depths=free_depths),
        NumpyEquations(problem, unknowns, **settings, free_depths=free_depths),
    )


@pytest.mark.parametrize("radial", LENSES)
@pytest.mark.parametrize("with_zoom", [False, True])
def test_errors_and_cost_equal_numpy(instruction_set, radial, with_zoom):
    problem, poses = problem_and_poses(radial=radial, with_zoom=with_zoom)
    module_problem = compiled_problem(kernels, problem.hosts, problem.track_weights, 7)
    errors = module_problem.errors(compiled_cameras(kernels, poses, CENTER), np.concatenate(problem.inverse_depths))
    expected = residual_norms_with_numpy(problem, poses, problem.inverse_depths)
    for ours, theirs in zip(errors, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)
    ratios = [
        project_host(host, depth, poses, CENTER)[1]
        for host, depth in zip(problem.hosts, problem.inverse_depths, strict=True)
    ]
    assert any((ratio < 0).any() for ratio in ratios), "no point is behind a camera"
    compiled, with_numpy = pair(problem, poses, np.ones(7, bool), 6)
    assert compiled.observation_weight == pytest.approx(with_numpy.observation_weight, rel=1e-12)
    cost = with_numpy.cost(poses, problem.inverse_depths)
    assert compiled.cost(poses, problem.inverse_depths) == pytest.approx(cost, rel=1e-9)


@pytest.mark.parametrize("radial", LENSES)
@pytest.mark.parametrize("per_frame", [6, 7])
@pytest.mark.parametrize("free", [[True] * 7, [False, True, True, False, True, True, False], [False] * 7])
def test_normal_equations_equal_numpy(instruction_set, radial, per_frame, free):
    problem, poses = problem_and_poses(radial=radial, with_zoom=per_frame == 7)
    compiled, with_numpy = pair(problem, poses, np.array(free), per_frame)
    for equations in (compiled, with_numpy):
        equations.linearize(poses, problem.inverse_depths)
    np.testing.assert_allclose(compiled.diagonal, with_numpy.diagonal, rtol=1e-7)
    for ours, theirs in zip(compiled.reduced(0.01), with_numpy.reduced(0.01), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8 * np.abs(theirs).max())
    step = 0.01 * np.random.default_rng(0).standard_normal(len(compiled.diagonal))
    moved = [equations.moved_depths(0.01, step, problem.inverse_depths) for equations in (compiled, with_numpy)]
    for ours, theirs in zip(*moved, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_fixed_depths_equal_numpy(instruction_set):
    problem, poses = problem_and_poses()
    equations = pair(problem, poses, np.ones(7, bool), 6, free_depths=False)
    for one in equations:
        one.linearize(poses, problem.inverse_depths)
    (ours, our_gradient), (theirs, gradient) = (one.reduced(0.01) for one in equations)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-7, atol=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize("per_host", [1, 8, 64, 65])
def test_any_number_of_tracks(instruction_set, per_host):
    problem, poses = problem_and_poses(per_host=per_host)
    compiled, with_numpy = pair(problem, poses, np.ones(7, bool), 6)
    assert compiled.cost(poses, problem.inverse_depths) == pytest.approx(
        with_numpy.cost(poses, problem.inverse_depths), rel=1e-9
    )
    for equations in (compiled, with_numpy):
        equations.linearize(poses, problem.inverse_depths)
    for ours, theirs in zip(compiled.reduced(0.01), with_numpy.reduced(0.01), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8 * np.abs(theirs).max())


def test_poses_that_are_not_finite_have_no_finite_cost(instruction_set):
    problem, poses = problem_and_poses()
    compiled, _ = pair(problem, poses, np.ones(7, bool), 6)
    poses.translations[2, 0] = np.nan
    assert not np.isfinite(compiled.cost(poses, problem.inverse_depths))


def test_adjust_gives_the_same_cameras_with_and_without_kernels(monkeypatch):
    rng = np.random.default_rng(0)
    truth = curved_path()
    hosts, depths, _ = synthetic_tracks(truth, rng)
    hosts = [replace(host, pixels=host.pixels + 0.3 * rng.standard_normal(host.pixels.shape)) for host in hosts]
    start = truth.moved(0.02 * rng.standard_normal((13, 6)), 0.1)
    problem = Problem(hosts, depths, [np.ones(host.count) for host in hosts], CENTER)

    def solve():
        return adjust(problem, start, depths, scale=0.3, iterations=60, tolerance=0.0)

    compiled = solve()
    for module in (normal_equations, reprojection):
        monkeypatch.setattr(module, "kernels", lambda: None)
    plain = solve()
    assert compiled.cost == pytest.approx(plain.cost, rel=1e-6)
    assert center_error(compiled.poses, plain.poses) < 1e-4
    for ours, theirs in zip(
        residual_norms(problem, compiled.poses, compiled.inverse_depths),
        residual_norms(problem, plain.poses, plain.inverse_depths),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(weights=np.ones(3)), "shape"),
        (dict(visible=np.ones((2, 5), bool)), "shape"),
        (dict(frame=9), "frames from"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    host = kernels.HostTracks(0, np.ones((5, 2)), np.array([1]), np.ones((1, 5, 2)), np.ones((1, 5), bool), np.ones(5))
    with pytest.raises(ValueError, match=message):
        kernels.Problem([host._replace(**change)], 2)
    problem = kernels.Problem([host], 2)
    cameras = kernels.Cameras(np.tile(np.eye(3), (2, 1, 1)), np.zeros((2, 3)), np.ones(2), (0.0, 0.0))
    with pytest.raises(ValueError, match="shape"):
        problem.cost(cameras, np.ones(4))
    with pytest.raises(ValueError, match="slots"):
        kernels.NormalEquations(problem, np.array([0, 0]), per_frame=6, with_lens=False, free_depths=True)

"""Bundle adjustment on exact synthetic tracks: the truth is known, so it must come out."""

import numpy as np
import pytest

from dynamic_predictor.geometric.bundle_adjustment import (
    Poses,
    Problem,
    adjust,
    one_blas_thread,
    project_host,
    residual_norms,
    rotation_from_vector,
)
from dynamic_predictor.geometric.camera_hypotheses import rotation_geometry, solve, triangulated
from dynamic_predictor.geometric.fallback import bridge, is_still, only_rotates, runs
from dynamic_predictor.geometric.tracks import HostTracks

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")
WIDTH, HEIGHT = 400, 240
CENTER = (WIDTH / 2, HEIGHT / 2)


@pytest.fixture
def calm_linear_algebra():
    with one_blas_thread():
        yield


def synthetic_tracks(poses: Poses, rng, *, per_host=120, host_step=3, moving=0.0, noise=0.0, depth=(2.0, 8.0)):
    """Exact projections of random points, seen while in view; `moving` of them fly along a straight line of their
    own."""
    count = len(poses.rotations)
    hosts, inverse_depths, is_moving = [], [], []
    for host in range(0, count, host_step):
        pixels = rng.uniform([5, 5], [WIDTH - 5, HEIGHT - 5], (per_host, 2))
        inverse_depth = 1 / rng.uniform(*depth, per_host)
        frames = np.array([frame for frame in range(count) if frame != host])
        rays = np.column_stack([(pixels - CENTER) / poses.focal, np.ones(per_host)])
        world = (rays / inverse_depth[:, None] - poses.translations[host]) @ poses.rotations[host]
        moves = rng.random(per_host) < moving
        velocity = np.array([0.05, 0.02, 0.03]) * moves[:, None]
        seen = []
        for frame in frames:
            points = (world + velocity * (frame - host)) @ poses.rotations[frame].T + poses.translations[frame]
            seen.append(poses.focal * points[:, :2] / points[:, 2:] + CENTER)
        there = np.array(seen) + noise * rng.standard_normal((len(frames), per_host, 2))
        visible = ((there > 0) & (there < [WIDTH, HEIGHT])).all(-1)
        hosts.append(HostTracks(host, pixels, frames, there, visible))
        inverse_depths.append(inverse_depth)
        is_moving.append(moves)
    return hosts, inverse_depths, is_moving


def curved_path(count=13, focal=350.0, size=0.6, turn=0.15):
    angle = np.linspace(-1, 1, count)
    rotations = rotation_from_vector(
        np.column_stack([0.1 * turn * np.sin(3 * angle), turn * angle, 0.05 * turn * angle])
    )
    centers = size * np.column_stack([angle, 0.2 * np.cos(2 * angle), 0.3 * angle**2])
    return Poses(rotations, -np.einsum("kij,kj->ki", rotations, centers), focal)


def center_error(found: Poses, truth: Poses) -> float:
    """RMSE of the camera centres after the best similarity (Umeyama, PAMI 1991), as a share of the path length."""
    one = -np.einsum("kji,kj->ki", found.rotations, found.translations)
    two = -np.einsum("kji,kj->ki", truth.rotations, truth.translations)
    a, b = one - one.mean(0), two - two.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(s) @ sign) / (a**2).sum()
    error = np.sqrt(((scale * a @ rotation.T - b) ** 2).sum(1).mean())
    return float(error / np.linalg.norm(np.diff(two, axis=0), axis=1).sum())


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


def test_steps_follow_the_slope_of_the_cost():
    # the gradient that the solver uses against finite differences of the cost: one tiny, heavily damped step must
    # reduce the cost as predicted in each kind of unknown alone
    rng = np.random.default_rng(1)
    truth = curved_path(count=5)
    hosts, depths, _ = synthetic_tracks(truth, rng, per_host=20, host_step=2)
    start = truth.moved(0.005 * rng.standard_normal((5, 6)), 0.02)
    problem = Problem(hosts, depths, [np.ones(host.count) for host in hosts], CENTER)
    from dynamic_predictor.geometric.bundle_adjustment import _linearize

    slots = np.arange(5)
    # a huge scale makes the loss quadratic: the robust weights are 1
    system = _linearize(problem, start, depths, 1e4, slots, 31, True, 0.0)

    def half_squares(poses, inverse_depths):
        return 0.5 * sum(np.nansum(norm**2) for norm in residual_norms(problem, poses, inverse_depths)) / 1e8

    for unknown in range(31):
        step = np.zeros(31)
        step[unknown] = 1e-5
        up = half_squares(start.moved(step[:-1].reshape(5, 6), step[-1]), depths)
        down = half_squares(start.moved(-step[:-1].reshape(5, 6), -step[-1]), depths)
        assert (up - down) / 2e-5 == pytest.approx(system.gradient[unknown], rel=2e-3, abs=1e-8)
    changed = [depth.copy() for depth in depths]
    changed[1][7] += 1e-6
    lowered = [depth.copy() for depth in depths]
    lowered[1][7] -= 1e-6
    slope = (half_squares(start, changed) - half_squares(start, lowered)) / 2e-6
    assert slope == pytest.approx(system.hosts[1].slope[7], rel=2e-3)


@pytest.mark.parametrize(("size", "turn"), [(0.6, 0.15), (0.05, 0.02)], ids=["large motion", "small motion"])
def test_solves_from_nothing_with_moving_things(size, turn):
    rng = np.random.default_rng(2)
    truth = curved_path(count=16, size=size, turn=turn)
    hosts, _, is_moving = synthetic_tracks(truth, rng, moving=0.3, noise=0.05)
    small = size < 0.1
    # such small motion does not tell the focal length
    found = solve(hosts, 16, CENTER, 350.0 if small else None, (400.0, 0.4))
    assert found is not None and found.registered.all()
    assert center_error(found.poses, truth) < (0.03 if small else 0.005)
    assert found.poses.focal == pytest.approx(350, rel=0.02)
    weights = np.concatenate(found.track_weights)
    moving = np.concatenate(is_moving)
    assert (weights[moving] < 0.25).mean() > 0.9
    assert (weights[~moving] > 0.25).mean() > 0.95


def test_near_and_far_do_not_swap():
    # the depth-reversed twin of small motion: depths must correlate with the truth, not with its reverse
    rng = np.random.default_rng(3)
    truth = curved_path(count=10, size=0.03, turn=0.01)
    hosts, inverse_depths, _ = synthetic_tracks(truth, rng, noise=0.03)
    found = solve(hosts, 10, CENTER, 350.0, (400.0, 0.4))
    assert found is not None
    correlation = np.corrcoef(np.concatenate(found.inverse_depths), np.concatenate(inverse_depths))[0, 1]
    assert correlation > 0.95


def test_given_focal_is_kept():
    rng = np.random.default_rng(4)
    hosts, _, _ = synthetic_tracks(curved_path(count=10), rng, noise=0.05)
    found = solve(hosts, 10, CENTER, 333.0, (400.0, 0.4))
    assert found is not None and found.poses.focal == 333.0


def test_two_frames():
    rng = np.random.default_rng(5)
    truth = curved_path(count=2)
    hosts, _, _ = synthetic_tracks(truth, rng, host_step=1, noise=0.05)
    found = solve(hosts, 2, CENTER, 350.0, (400.0, 0.4))
    assert found is not None and found.registered.all()
    turn = found.poses.rotations[1] @ found.poses.rotations[0].T
    true_turn = truth.rotations[1] @ truth.rotations[0].T
    assert np.degrees(np.arccos(np.clip((np.trace(turn.T @ true_turn) - 1) / 2, -1, 1))) < 1.0


def test_pure_rotation_is_told_from_translation():
    rng = np.random.default_rng(6)
    turning = curved_path(count=12, size=0.0, turn=0.3)
    hosts, _, _ = synthetic_tracks(turning, rng, noise=0.1, moving=0.1)
    rotating = rotation_geometry(hosts, 12, CENTER, None, (400.0, 0.4))
    assert not is_still(rotating)
    full = solve(hosts, 12, CENTER, 350.0, (400.0, 0.4))
    assert full is None or only_rotates(full, rotating)
    assert rotating.poses.focal == pytest.approx(350, rel=0.03)
    found = rotating.poses.rotations[11] @ rotating.poses.rotations[0].T
    true = turning.rotations[11] @ turning.rotations[0].T
    assert np.degrees(np.arccos(np.clip((np.trace(found.T @ true) - 1) / 2, -1, 1))) < 0.5

    walking = curved_path(count=12, size=0.3, turn=0.3)
    hosts, _, _ = synthetic_tracks(walking, rng, noise=0.1)
    rotating = rotation_geometry(hosts, 12, CENTER, None, (400.0, 0.4))
    full = solve(hosts, 12, CENTER, 350.0, (400.0, 0.4))
    assert full is not None and not only_rotates(full, rotating)


def test_a_camera_that_stands_is_still_although_things_move():
    rng = np.random.default_rng(7)
    standing = curved_path(count=8, size=0.0, turn=0.0)
    hosts, _, _ = synthetic_tracks(standing, rng, noise=0.05, moving=0.3)
    assert is_still(rotation_geometry(hosts, 8, CENTER, None, (400.0, 0.4)))
    hosts, _, _ = synthetic_tracks(curved_path(count=8, size=0.02, turn=0.0), rng, noise=0.05)
    assert not is_still(rotation_geometry(hosts, 8, CENTER, None, (400.0, 0.4)))


def test_triangulation_is_exact_without_noise():
    rng = np.random.default_rng(8)
    truth = curved_path(count=6)
    hosts, inverse_depths, _ = synthetic_tracks(truth, rng)
    found = triangulated(hosts[0], truth, np.ones(6, bool), CENTER)
    seen = hosts[0].visible.sum(0) >= 2
    np.testing.assert_allclose(found[seen], inverse_depths[0][seen], rtol=1e-8)


def test_bridged_frames_lie_between_their_neighbours():
    truth = curved_path(count=9)
    poses, registered = truth.copy(), np.ones(9, bool)
    registered[[3, 4, 8]] = False
    poses.translations[[3, 4, 8]] = 99.0
    bridge(poses, registered)
    centers = -np.einsum("kji,kj->ki", poses.rotations, poses.translations)
    np.testing.assert_allclose(centers[3], (2 * centers[2] + centers[5]) / 3, atol=1e-12)
    np.testing.assert_allclose(centers[8], centers[7], atol=1e-12)
    assert runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]


def test_projection_agrees_with_the_pinhole_formula():
    truth = curved_path(count=3)
    host = HostTracks(0, np.array([[100.0, 50.0]]), np.array([2]), np.zeros((1, 1, 2)), np.ones((1, 1), bool))
    pixels, relative_depth = project_host(host, np.array([0.25]), truth, CENTER)
    point = np.array([(100 - CENTER[0]) / 350, (50 - CENTER[1]) / 350, 1.0]) * 4
    world = truth.rotations[0].T @ (point - truth.translations[0])
    there = truth.rotations[2] @ world + truth.translations[2]
    np.testing.assert_allclose(pixels[0, 0], 350 * there[:2] / there[2] + CENTER)
    assert relative_depth[0, 0] == pytest.approx(there[2] / 4)


def test_rotations_of_long_clips_stay_rotations():
    poses = curved_path(count=90, size=4.0, turn=0.3)
    hosts, _, _ = synthetic_tracks(poses, np.random.default_rng(5), per_host=40, host_step=5, noise=0.2)
    near = [host.subset(frames=np.flatnonzero(np.abs(host.frames - host.host) <= 12)) for host in hosts]
    found = solve(near, 90, CENTER, None, (WIDTH, 0.4), 0)
    assert found is not None and found.registered.all()
    rotations = found.poses.rotations
    assert np.abs(np.einsum("kij,klj->kil", rotations, rotations) - np.eye(3)).max() < 1e-10

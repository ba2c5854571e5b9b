"""Cameras from tracks alone, on synthetic tracks whose cameras are known."""

import numpy as np
import pytest

from dynamic_predictor.geometric.camera_hypotheses import solve_cameras, triangulated
from tests.dynamic_predictor.geometric.synthetic_tracks import (
    CENTER,
    WIDTH,
    center_error,
    curved_path,
    synthetic_tracks,
)

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")


@pytest.mark.parametrize(("size", "turn"), [(0.6, 0.15), (0.05, 0.02)], ids=["large motion", "small motion"])
def test_cameras_are_found_in_spite_of_moving_points(size, turn):
    rng = np.random.default_rng(2)
    truth = curved_path(count=16, size=size, turn=turn)
    hosts, _, is_moving = synthetic_tracks(truth, rng, moving=0.3, noise=0.05)
    small = size < 0.1
    # so small a motion does not determine the focal length
    found = solve_cameras(hosts, 16, CENTER, 350.0 if small else None, (400.0, 0.4))
    assert found is not None and found.registered.all()
    assert center_error(found.poses, truth) < (0.03 if small else 0.005)
    assert found.poses.focal == pytest.approx(350, rel=0.02)
    weights = np.concatenate(found.track_weights)
    moving = np.concatenate(is_moving)
    assert (weights[moving] < 0.25).mean() > 0.9
    assert (weights[~moving] > 0.25).mean() > 0.95


def test_near_and_far_do_not_swap():
    # small motion has a depth-reversed twin solution, whose inverse depths do not correlate with the truth
    rng = np.random.default_rng(3)
    truth = curved_path(count=10, size=0.03, turn=0.01)
    hosts, inverse_depths, _ = synthetic_tracks(truth, rng, noise=0.03)
    found = solve_cameras(hosts, 10, CENTER, 350.0, (400.0, 0.4))
    assert found is not None
    correlation = np.corrcoef(np.concatenate(found.inverse_depths), np.concatenate(inverse_depths))[0, 1]
    assert correlation > 0.95


def test_given_focal_is_kept():
    rng = np.random.default_rng(4)
    hosts, _, _ = synthetic_tracks(curved_path(count=10), rng, noise=0.05)
    found = solve_cameras(hosts, 10, CENTER, 333.0, (400.0, 0.4))
    assert found is not None and found.poses.focal == 333.0


def test_two_frames():
    rng = np.random.default_rng(5)
    truth = curved_path(count=2)
    hosts, _, _ = synthetic_tracks(truth, rng, host_step=1, noise=0.05)
    found = solve_cameras(hosts, 2, CENTER, 350.0, (400.0, 0.4))
    assert found is not None and found.registered.all()
    turn = found.poses.rotations[1] @ found.poses.rotations[0].T
    true_turn = truth.rotations[1] @ truth.rotations[0].T
    assert np.degrees(np.arccos(np.clip((np.trace(turn.T @ true_turn) - 1) / 2, -1, 1))) < 1.0


def test_triangulation_is_exact_without_noise():
    rng = np.random.default_rng(8)
    truth = curved_path(count=6)
    hosts, inverse_depths, _ = synthetic_tracks(truth, rng)
    found = triangulated(hosts[0], truth, np.ones(6, bool), CENTER)
    seen = hosts[0].visible.sum(0) >= 2
    np.testing.assert_allclose(found[seen], inverse_depths[0][seen], rtol=1e-8)


def test_rotations_of_long_clips_stay_rotations():
    poses = curved_path(count=90, size=4.0, turn=0.3)
    hosts, _, _ = synthetic_tracks(poses, np.random.default_rng(5), per_host=40, host_step=5, noise=0.2)
    near = [host.subset(frames=np.flatnonzero(np.abs(host.frames - host.host) <= 12)) for host in hosts]
    found = solve_cameras(near, 90, CENTER, None, (WIDTH, 0.4), 0)
    assert found is not None and found.registered.all()
    rotations = found.poses.rotations
    assert np.abs(np.einsum("kij,klj->kil", rotations, rotations) - np.eye(3)).max() < 1e-10

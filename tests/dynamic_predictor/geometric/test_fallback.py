"""Cameras that stand still or only rotate, and interpolated poses."""

import numpy as np
import pytest

from dynamic_predictor.geometric.camera_hypotheses import rotation_geometry, solve_cameras
from dynamic_predictor.geometric.fallback import bridge, is_still, only_rotates, runs
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, curved_path, synthetic_tracks

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")


def test_pure_rotation_is_distinguished_from_translation():
    rng = np.random.default_rng(6)
    turning = curved_path(count=12, size=0.0, turn=0.3)
    hosts, _, _ = synthetic_tracks(turning, rng, noise=0.1, moving=0.1)
    rotating = rotation_geometry(hosts, 12, CENTER, None, (400.0, 0.4))
    assert not is_still(rotating)
    full = solve_cameras(hosts, 12, CENTER, 350.0, (400.0, 0.4))
    assert full is None or only_rotates(full, rotating)
    assert rotating.poses.focal == pytest.approx(350, rel=0.03)
    found = rotating.poses.rotations[11] @ rotating.poses.rotations[0].T
    true = turning.rotations[11] @ turning.rotations[0].T
    assert np.degrees(np.arccos(np.clip((np.trace(found.T @ true) - 1) / 2, -1, 1))) < 0.5

    walking = curved_path(count=12, size=0.3, turn=0.3)
    hosts, _, _ = synthetic_tracks(walking, rng, noise=0.1)
    rotating = rotation_geometry(hosts, 12, CENTER, None, (400.0, 0.4))
    full = solve_cameras(hosts, 12, CENTER, 350.0, (400.0, 0.4))
    assert full is not None and not only_rotates(full, rotating)


def test_a_camera_stands_still_although_points_move():
    rng = np.random.default_rng(7)
    standing = curved_path(count=8, size=0.0, turn=0.0)
    hosts, _, _ = synthetic_tracks(standing, rng, noise=0.05, moving=0.3)
    assert is_still(rotation_geometry(hosts, 8, CENTER, None, (400.0, 0.4)))
    hosts, _, _ = synthetic_tracks(curved_path(count=8, size=0.02, turn=0.0), rng, noise=0.05)
    assert not is_still(rotation_geometry(hosts, 8, CENTER, None, (400.0, 0.4)))


def test_missing_poses_are_interpolated():
    truth = curved_path(count=9)
    poses, registered = truth.copy(), np.ones(9, bool)
    registered[[3, 4, 8]] = False
    poses.translations[[3, 4, 8]] = 99.0
    bridge(poses, registered)
    centers = -np.einsum("kji,kj->ki", poses.rotations, poses.translations)
    np.testing.assert_allclose(centers[3], (2 * centers[2] + centers[5]) / 3, atol=1e-12)
    np.testing.assert_allclose(centers[8], centers[7], atol=1e-12)
    assert runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]

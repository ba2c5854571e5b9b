"""The choice of the camera's motion, on tracks of a background and of a large object that moves against it."""

import numpy as np
import pytest

from dynamic_predictor.geometric.camera_choice import best_hypothesis, chosen_cameras, plausibility, static_tracks
from dynamic_predictor.geometric.camera_hypotheses import solve_cameras
from dynamic_predictor.geometric.geometry import Geometry
from dynamic_predictor.geometric.reprojection import identity_poses
from tests.dynamic_predictor.geometric.synthetic_tracks import (
    CENTER,
    center_error,
    curved_path,
    synthetic_tracks,
    tracks_with_object,
)

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")
COUNT = 12


@pytest.mark.parametrize("size", [(0.5, 0.6), pytest.param((0.65, 0.75), marks=pytest.mark.slow)])
def test_a_large_object_against_the_background_is_not_taken_for_the_world(size):
    rng = np.random.default_rng(1)
    truth = curved_path(count=COUNT, size=0.3, turn=0.05)
    hosts, _, on_object = tracks_with_object(
        truth, rng, depth=0.0, background=(2.0, 8.0), size=size, slide=(14.0, 1.0), noise=0.05
    )
    plain = solve_cameras(hosts, COUNT, CENTER, None, (400.0, 0.4))
    assert plain is not None
    assert plausibility(plain) < 0.4 and center_error(plain.poses, truth) > 0.02  # the error alone chooses wrongly
    warnings: list[str] = []
    chosen = chosen_cameras(plain, hosts, None, (400.0, 0.4), warnings)
    assert center_error(chosen.poses, truth) < 0.01
    assert chosen.poses.focal == pytest.approx(350, rel=0.05)
    moving = np.concatenate(on_object)
    assert (np.concatenate(chosen.track_weights)[moving] < 0.25).mean() > 0.95
    assert sum(host.count for host in static_tracks(chosen)) == (np.concatenate(chosen.track_weights) > 0.25).sum()
    assert not warnings


def test_an_ordinary_clip_keeps_its_cameras():
    rng = np.random.default_rng(2)
    truth = curved_path(count=COUNT)
    hosts, _, _ = synthetic_tracks(truth, rng, moving=0.2, noise=0.05, host_step=4)
    solved = solve_cameras(hosts, COUNT, CENTER, None, (400.0, 0.4))
    assert solved is not None
    warnings: list[str] = []
    assert chosen_cameras(solved, hosts, None, (400.0, 0.4), warnings) is solved
    assert not warnings


def _hypothesis(share: float, scale: float) -> Geometry:
    """One of 100 tracks, of which the `share` is static, with errors of `scale` pixels."""
    weights = [(np.arange(100) < 100 * share).astype(float)]
    poses = identity_poses(COUNT, 350.0)
    return Geometry([], [], poses, np.ones(COUNT, bool), CENTER, track_weights=weights, scale=scale)


def test_what_explains_many_more_tracks_was_missed_by_the_search():
    # parkour of DAVIS, forth and back: 99 frames at 512 pixels
    first, missed, object_too = _hypothesis(0.39, 0.131), _hypothesis(0.75, 0.104), _hypothesis(0.44, 0.182)
    assert best_hypothesis([(0.254, first), (0.246, missed), (0.308, object_too)])[1] is missed
    larger_errors, few_more = _hypothesis(0.75, 0.14), _hypothesis(0.55, 0.104)
    assert best_hypothesis([(0.254, first), (0.246, larger_errors), (0.25, few_more)])[1] is first
    assert best_hypothesis([(0.254, first), (0.19, missed)])[1] is first
    assert best_hypothesis([(0.254, first), (0.246, missed), (0.32, few_more)])[1] is few_more

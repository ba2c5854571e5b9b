"""Resets of the online loop: the world goes on across segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.online import advance, mean_focal, start_state
from dynamic_predictor.cut3r.settings import Cut3rSettings
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network

IMAGES = torch.rand((7, 1, 3, 32, 48), generator=torch.Generator().manual_seed(8)) * 2 - 1


@pytest.fixture(scope="module")
def network() -> Cut3rNetwork:
    return filled_network(MINIMAL)


def _roll(network: Cut3rNetwork, settings: Cut3rSettings, images=IMAGES):
    state, views, states = start_state(network, 32, 48), [], []
    for image in images:
        view, state = advance(network, image, state, settings)
        views.append(view)
        states.append(state)
    return views, states


@pytest.mark.parametrize("strict", [False, True])
def test_segments_are_the_clips_that_they_see_moved_by_one_similarity(network, strict):
    settings = Cut3rSettings(state_update="plain", reset_interval=3, strict_official=strict)
    views, states = _roll(network, settings)
    assert [state.seen_in_segment for state in states] == [1, 2, 1, 2, 1, 2, 1]
    alone = Cut3rSettings(state_update="plain", strict_official=strict)
    # the second segment sees frames 2, 3 and 4, the first of them a second time
    segment, _ = _roll(network, alone, IMAGES[2:5])
    place = states[2].world_from_segment
    for ours, theirs in zip(views[3:5], segment[1:], strict=True):
        moved = place.apply_to_poses(theirs.camera.world_from_camera)
        np.testing.assert_allclose(ours.camera.world_from_camera, moved, atol=1e-6)
        np.testing.assert_allclose(ours.z_depth, place.scale * theirs.z_depth, rtol=1e-5, atol=1e-7)
    seam = place.apply_to_poses(np.eye(4) if strict else segment[0].camera.world_from_camera)
    np.testing.assert_allclose(seam, views[2].camera.world_from_camera, atol=1e-6)
    assert (place.scale == 1.0) == strict


def test_a_frozen_state_stays(network):
    settings = Cut3rSettings()
    _, states = _roll(network, settings)
    view, after = advance(network, IMAGES[0], states[-1], settings, update=False)
    assert after is states[-1] and np.isfinite(view.camera.world_from_camera).all()
    again, _ = advance(network, IMAGES[0], states[-1], settings, update=False)
    np.testing.assert_array_equal(view.z_depth, again.z_depth)


def test_poses_from_points(network):
    """The pose that moves the points of the view onto those in the world, under the confidences."""
    head, _ = _roll(network, Cut3rSettings())
    points, _ = _roll(network, Cut3rSettings(solve_pose=True))
    rotation = points[2].camera.world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert not np.allclose(points[2].camera.world_from_camera, head[2].camera.world_from_camera)
    np.testing.assert_array_equal(points[2].z_depth, head[2].z_depth)


def test_the_mean_focal_length(network):
    state = start_state(network, 48, 64)
    assert mean_focal(state) == pytest.approx(64 / (2 * np.tan(np.radians(30))))
    state = replace(state, focal_log_sum=float(np.log(40) + np.log(90)), focal_count=2)
    assert mean_focal(state) == pytest.approx(60.0)

"""Virtual views of the state."""

import numpy as np
import pytest
import torch

from dynamic_predictor.contract import Views
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.query import query_path, query_view
from dynamic_predictor.cut3r.roll import RollView, roll
from scene.camera import Camera
from scene.errors import InputError
from scene.similarity import Similarity
from tests.dynamic_predictor.cut3r.clips import clip, predictor_of
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network, golden_images


@pytest.fixture(scope="module")
def network() -> Cut3rNetwork:
    return filled_network(MINIMAL)


def _camera(x: float = 0.0, size: tuple[int, int] = (48, 32)) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = x
    return Camera(*size, 40.0, 40.0, size[0] / 2, size[1] / 2, pose)


def test_a_query_against_the_official_code(tiny_linear, golden):
    arrays = golden("tiny_linear.npz")
    images = golden_images()
    state = list(roll(tiny_linear, [RollView(image[None]) for image in images]))[-1].state
    first, pose = arrays["poses_c2w"][[0, 2]]
    # official pixel centers are at whole numbers, ours at halves
    fx, cx, cy = arrays["intrinsics"][0, 0], arrays["intrinsics"][0, 2] + 0.5, arrays["intrinsics"][1, 2] + 0.5
    view = query_view(tiny_linear, state, Camera(96, 64, fx, fx, cx, cy, np.linalg.inv(first) @ pose))
    color, depth = arrays["query_rgb"][0, 0], arrays["query_pts3d_in_self_view"][0, 0, ..., 2]
    chosen = np.s_[:] if color.shape[0] == 64 else np.s_[3::11, 5::13]
    np.testing.assert_allclose(view.color[chosen], (color + 1) / 2, atol=1e-4)
    np.testing.assert_allclose(view.z_depth[chosen], np.maximum(depth, 0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(view.read_pose[:3, 3], arrays["query_camera_pose"][0, 0, :3], atol=1e-4)
    confidence = arrays["query_conf"][0, 0]
    np.testing.assert_allclose(view.confidence[chosen], 1 - 1 / confidence, atol=1e-4)


def test_queries_leave_the_state_as_it_is(network):
    predictor = predictor_of(network)
    with pytest.raises(InputError, match="nothing to look at yet"):
        predictor.query(_camera())
    predictor.predict(Views(clip(3)))
    before = predictor.state()
    views = list(query_path(predictor, [_camera(0.0), _camera(0.5), _camera(0.0)]))
    for name, array in predictor.state().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(views[0].points, views[2].points)
    assert not np.array_equal(views[0].points, views[1].points)
    for view in views:
        assert view.points.shape == view.color.shape == (32, 48, 3) and view.z_depth.shape == (32, 48)
        assert 0 <= view.color.min() and view.color.max() <= 1 and view.z_depth.min() >= 0
        assert 0 <= view.confidence.min() and view.confidence.max() <= 1


def test_a_view_in_a_later_segment_is_asked_for_in_its_world(network):
    """Moving camera and segment by one similarity moves the points, and scales the depth."""
    state = list(roll(network, [RollView(torch.rand(1, 3, 32, 48))]))[-1].state
    here = query_view(network, state, _camera(0.3))
    angle = 0.4
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    place = Similarity(2.0, turn, np.array([1.0, 2.0, 3.0]))
    moved = _camera(0.3).moved(place.apply_to_poses(_camera(0.3).world_from_camera))
    there = query_view(network, state, moved, place)
    np.testing.assert_allclose(there.points, place.apply_to_points(here.points), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(there.z_depth, 2 * here.z_depth, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("camera", "message"),
    [(_camera(size=(50, 32)), "multiples of 16"), (Camera(48, 32, 0.0, 40.0, 24, 16, np.eye(4)), "focal length")],
)
def test_impossible_cameras_are_refused(network, camera, message):
    state = network.initial_state()
    with pytest.raises(InputError, match=message):
        query_view(network, state, camera)

"""Camera refinement: gradients in the tangent space against finite differences, and cameras of held-out frames."""

import numpy as np
import torch

from gaussian.poses import CameraRefinement, correction_matrix
from scene.camera import Camera


def some_cameras(count: int = 5) -> list[Camera]:
    cameras = []
    for index in range(count):
        pose = correction_matrix(np.array([0.1 * index, -0.2, 0.05 * index, 0.3 * index, 0.1, -0.2]))
        cameras.append(Camera(64, 48, 50.0, 50.0, 32.0, 24.0, pose))
    return cameras


def test_a_view_is_the_refined_camera_at_another_size() -> None:
    refinement = CameraRefinement(some_cameras())
    refinement.step_pose(1, np.ones((3, 4)), 1e-2, 1e-2)
    refinement.step_focal(-1.0, -1.0, 1e-2)
    view, camera = refinement.view(1, 32, 16), refinement.camera(1).resized(32, 16)
    assert (view.width, view.height) == (32, 16) and view.camera_from_world.dtype == torch.float32
    assert view.intrinsics == (camera.fx, camera.fy, camera.cx, camera.cy)
    np.testing.assert_allclose(view.camera_from_world, camera.camera_from_world, rtol=1e-6, atol=1e-7)


def test_steps_descend_a_known_function() -> None:
    """Minimizes the distance of points in camera space to their targets, whose gradient by the matrix is exact."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (40, 3)) + [0, 0, 4], np.ones((40, 1))], axis=1)
    cameras = some_cameras()
    truth = correction_matrix(np.array([0.02, -0.03, 0.01, 0.05, -0.04, 0.03])) @ cameras[2].camera_from_world
    wanted = points @ truth[:3].T
    refinement = CameraRefinement(cameras)
    for step in range(1500):
        residual = points @ refinement.camera(2).camera_from_world[:3].T - wanted
        gradient = 2 * residual.T @ points / len(points)
        learning_rate = 5e-3 * 0.995**step
        refinement.step_pose(2, gradient, learning_rate, learning_rate)
    np.testing.assert_allclose(refinement.camera(2).camera_from_world[:3], truth[:3], atol=2e-3)
    np.testing.assert_allclose(refinement.camera(1).camera_from_world, cameras[1].camera_from_world, atol=1e-12)
    rotation = refinement.camera(2).world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_first_step_goes_against_each_tangent_derivative() -> None:
    rng = np.random.default_rng(1)
    cameras = some_cameras()
    start = cameras[3].camera_from_world
    gradient = rng.normal(size=(3, 4))

    def value(tangent: np.ndarray) -> float:
        return float((gradient * (correction_matrix(tangent) @ start)[:3]).sum())

    derivatives = np.array([(value(1e-5 * axis) - value(-1e-5 * axis)) / 2e-5 for axis in np.eye(6)])
    refinement = CameraRefinement(cameras)
    refinement.step_pose(3, gradient, 1e-4, 2e-4)
    # Adam's first step has the size of the learning rate and the sign of the derivative
    expected = -np.sign(derivatives) * np.repeat([1e-4, 2e-4], 3)
    np.testing.assert_allclose(refinement.correction(3), expected, rtol=1e-3, atol=1e-9)


def test_held_out_cameras_follow_their_neighbors() -> None:
    refinement = CameraRefinement(some_cameras())
    before = refinement.camera(2).camera_from_world
    gradient = np.ones((3, 4))
    for _ in range(5):
        for frame in (1, 3):
            refinement.step_pose(frame, gradient, 1e-3, 1e-3)
    refinement.interpolate([2], [0, 1, 3, 4])
    between = (refinement.correction(1) + refinement.correction(3)) / 2
    np.testing.assert_allclose(refinement.correction(2), between, atol=1e-9)
    assert np.abs(refinement.camera(2).camera_from_world - before).max() > 1e-4


def test_focal_steps_and_state() -> None:
    refinement = CameraRefinement(some_cameras())
    for _ in range(3):
        refinement.step_focal(-1.0, -1.0, 1e-2)
    assert abs(refinement.focal_factor - np.exp(0.03)) < 1e-4
    assert abs(refinement.camera(0).fx - 50 * np.exp(0.03)) < 1e-2
    refinement.step_pose(1, np.ones((3, 4)), 1e-3, 1e-3)
    other = CameraRefinement(some_cameras())
    other.restore(refinement.state())
    for copy in (refinement, other):
        copy.step_pose(1, np.ones((3, 4)), 1e-3, 1e-3)
        copy.step_focal(1.0, 2.0, 1e-2)
    np.testing.assert_array_equal(refinement.camera(1).camera_from_world, other.camera(1).camera_from_world)
    assert refinement.focal_factor == other.focal_factor

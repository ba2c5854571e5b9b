"""Clicks: the point that is hit is the one in front, and pixels survive the way to the window and back."""

import numpy as np
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from viewer.picking import picked_point, pixel_of_ray


def _camera() -> Camera:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    pose[:3, 3] = [1.0, -2.0, 0.5]
    return Camera(640, 480, 500.0, 520.0, 310.0, 250.0, pose)


def test_the_point_in_front_is_hit_and_not_the_one_behind_it():
    points = np.array([[0, 0, 5.0], [0, 0, 2.0], [0.02, 0, 2.01], [0, 0, -1.0], [1.0, 0, 1.0]])
    np.testing.assert_array_equal(picked_point(np.zeros(3), np.array([0, 0, 3.0]), points), [0, 0, 2.0])
    assert picked_point(np.zeros(3), np.array([0, 1.0, 0]), points) is None
    assert picked_point(np.zeros(3), np.array([0, 1.0, 0]), np.zeros((0, 3))) is None


def test_a_pixel_of_the_picture_is_found_from_any_eye():
    camera, distance = _camera(), 1.7
    for pixel in ([10.5, 20.5], [310.0, 250.0], [700.0, -30.0]):
        there = camera.unproject_pixels(np.array([pixel[0] - 0.5]), np.array([pixel[1] - 0.5]), np.array([distance]))[0]
        for eye in (camera.center, camera.center + [0.3, 0.1, -0.2]):
            found = pixel_of_ray(camera, eye, there - eye, distance)
            assert found is not None
            np.testing.assert_allclose(found, pixel, atol=1e-6)
    right = camera.world_from_camera[:3, 0]
    assert pixel_of_ray(camera, camera.center, right, distance) is None
    assert pixel_of_ray(camera, camera.center, -camera.world_from_camera[:3, 2], distance) is None

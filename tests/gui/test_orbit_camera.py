"""The free camera: what is in front follows the pointer, and the pivot stays."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gui.orbit_camera import OrbitCamera, up_of
from scene.camera import Camera
from scene.rotations import affine_matrix, is_rigid

WIDTH, HEIGHT = 120, 80


def placed(tilt: float = 10.0, roll: float = 0.0) -> OrbitCamera:
    """A camera turned by `tilt` and `roll` degrees in a world whose y points down."""
    rotation = Rotation.from_euler("yxz", [30, tilt, roll], degrees=True).as_matrix()
    camera = Camera(WIDTH, HEIGHT, 90, 95, 57, 43, affine_matrix(rotation, np.array([1.0, 2.0, 3.0])))
    return OrbitCamera.at(camera, 4.0, np.array([0.0, -2.0, 0.0]))


def pixel(orbit: OrbitCamera, point: np.ndarray) -> np.ndarray:
    return orbit.camera.project(point[None])[0][0]


def test_pivot_is_in_the_middle_of_the_picture() -> None:
    orbit = placed()
    np.testing.assert_allclose(pixel(orbit, orbit.pivot), [WIDTH / 2, HEIGHT / 2])
    assert orbit.camera.project(orbit.pivot[None])[1][0] == pytest.approx(4.0)


@pytest.mark.parametrize("roll", [0.0, 180.0])
def test_orbit_keeps_pivot_and_distance_and_moves_the_front_with_the_pointer(roll: float) -> None:
    orbit = placed(roll=roll)
    sight = orbit.pivot - orbit.camera.center
    front = orbit.pivot - 0.3 * sight  # between camera and pivot
    for right, down in ((0.05, 0.0), (0.0, 0.05), (-0.1, 0.02)):
        moved = orbit.orbited(right, down)
        assert is_rigid(moved.camera.world_from_camera)
        np.testing.assert_allclose(moved.pivot, orbit.pivot, atol=1e-9)
        shift = pixel(moved, front) - pixel(orbit, front)
        for direction, pixels in ((right, shift[0]), (down, shift[1])):
            if direction:
                assert np.sign(pixels) == np.sign(direction) and abs(pixels) > 1


def test_orbit_stops_before_the_pole_and_comes_back() -> None:
    orbit = placed()
    for _ in range(50):
        orbit = orbit.orbited(0.01, 0.1)
    assert -orbit.camera.world_from_camera[:3, 2] @ orbit.up == pytest.approx(np.cos(np.radians(2)), abs=1e-6)
    assert is_rigid(orbit.camera.world_from_camera)
    assert -orbit.orbited(0, -0.2).camera.world_from_camera[:3, 2] @ orbit.up < 0.9


def test_pan_moves_the_pivot_with_the_pointer() -> None:
    orbit = placed()
    moved = orbit.panned(0.25, -0.1)
    np.testing.assert_allclose(pixel(moved, orbit.pivot), [WIDTH * 0.75, HEIGHT * 0.4])


def test_zoom_approaches_the_pivot_and_has_limits() -> None:
    orbit = placed()
    near = orbit.zoomed(0.5)
    np.testing.assert_allclose(near.pivot, orbit.pivot)
    assert near.distance == pytest.approx(2.0)
    np.testing.assert_allclose(near.zoomed(2).camera.world_from_camera, orbit.camera.world_from_camera)
    assert orbit.zoomed(0).distance > 0 and orbit.zoomed(1e9).distance < 1e5


def test_up_of_cameras_that_look_in_all_directions() -> None:
    cameras = [placed(tilt=tilt).camera for tilt in (-20.0, 20.0)]
    np.testing.assert_allclose(up_of(cameras), [0, -1, 0], atol=1e-9)

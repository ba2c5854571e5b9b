"""Camera paths through known cameras."""

import numpy as np
import pytest

from gaussian.poses import correction_matrix
from scene.camera import Camera
from scene.camera_path import interpolated_path


def turning_cameras(count: int) -> list[Camera]:
    """Cameras on a line that turn by 0.1 radians per frame."""
    poses = [correction_matrix(np.array([0.0, 0.1 * index, 0.0, 0.3 * index, 0.0, 0.0])) for index in range(count)]
    return [Camera(40, 30, 50.0, 51.0, 20.0, 15.0, pose) for pose in poses]


def test_without_smoothing_the_path_passes_through_every_camera() -> None:
    cameras = turning_cameras(6)
    path = interpolated_path(cameras, 11, smoothing=0)
    assert len(path) == 11 and path[3].fx == 50.0 and path[3].fy == 51.0
    for index, camera in enumerate(cameras):
        np.testing.assert_allclose(path[2 * index].world_from_camera, camera.world_from_camera, atol=1e-9)
    between = correction_matrix(np.array([0.0, 0.25, 0.0, 0.75, 0.0, 0.0]))
    np.testing.assert_allclose(path[5].world_from_camera, between, atol=1e-3)


def test_smoothing_removes_shaking() -> None:
    cameras = turning_cameras(30)
    random = np.random.default_rng(0)
    shaken = [
        camera.moved(camera.world_from_camera @ correction_matrix(random.normal(0, 0.02, 6))) for camera in cameras
    ]

    def shaking(path: list[Camera]) -> float:
        centers = np.stack([camera.center for camera in path])
        return float(np.linalg.norm(np.diff(centers, n=2, axis=0), axis=1).mean())

    assert shaking(interpolated_path(shaken, 30)) < 0.3 * shaking(shaken)


def test_one_camera_is_repeated_and_none_is_refused() -> None:
    cameras = turning_cameras(1)
    assert interpolated_path(cameras, 3) == [cameras[0]] * 3
    with pytest.raises(ValueError, match="at least one"):
        interpolated_path([], 3)

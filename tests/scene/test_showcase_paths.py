"""Camera paths against the official code."""

from dataclasses import replace

import numpy as np
import pytest

from scene.formats.options import SHOWCASE_PATHS
from scene.showcase_paths import (
    cameras_between,
    dolly_zoom_path,
    interpolated_cameras,
    showcase_path,
    smoothed_path,
    wander_path,
    wobble_path,
)
from tests.scene.formats.da3_export_goldens import camera_from_matrices, load_goldens


@pytest.fixture(scope="module")
def golden():
    return load_goldens()


@pytest.fixture(scope="module")
def path_cameras(golden):
    intrinsics = golden["traj/Kn"] * np.array([[504], [280], [1]])
    return [
        camera_from_matrices(np.linalg.inv(pose), intrinsics, 504, 280)
        for pose in golden["traj/c2w"].astype(np.float64)
    ]


def _poses(path) -> np.ndarray:
    return np.stack([camera.world_from_camera for camera in path])


def test_paths_are_the_official_ones(golden, path_cameras):
    middle = path_cameras[2]
    np.testing.assert_allclose(_poses(wander_path(middle, 36)), golden["traj/wander_c2w"], atol=1e-5)
    dolly = dolly_zoom_path(middle, 36)
    np.testing.assert_allclose(_poses(dolly), golden["traj/dolly_c2w"], atol=1e-5)
    times = np.linspace(0, 1, 8)
    zoomed = replace(path_cameras[1], fx=0.99 * 504, fy=1.26 * 280)  # the golden's second camera sees less
    between = cameras_between(path_cameras[0], zoomed, times)
    np.testing.assert_allclose(_poses(between), golden["traj/interp_c2w"], atol=1e-4)
    wobble = wobble_path(path_cameras, steps=10, skip=1)
    np.testing.assert_allclose(_poses(wobble), golden["traj/wobble_c2w"][0], atol=1e-4)
    paths = {"wander": wander_path(middle, 36), "interp": between, "wobble": wobble, "dolly": dolly}
    for name, path in paths.items():
        official = golden[f"traj/{name}_K"].reshape(-1, 3, 3)
        intrinsics = [camera.intrinsics / [[504], [280], [1]] for camera in path]
        np.testing.assert_allclose(intrinsics, official, rtol=1e-5, atol=1e-6)


def test_smoothed_paths_are_the_official_ones_up_to_their_right_angles(golden, path_cameras):
    official = golden["traj/stabilised"].astype(np.float64)
    ours = _poses(smoothed_path(path_cameras))
    np.testing.assert_allclose(ours[:, :3, 3], official[:, :3, 3], atol=1e-5)
    for pose, other in zip(ours, official, strict=True):
        # the official axes are not at right angles; ours are those of the nearest rotation
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        u, _, vt = np.linalg.svd(other[:3, :3])
        np.testing.assert_allclose(pose[:3, :3], u @ vt, atol=1e-5)


def test_every_path_is_of_rigid_cameras_and_one_camera_wanders(path_cameras):
    for name in SHOWCASE_PATHS:
        for camera in showcase_path(path_cameras, name):
            rotation = camera.world_from_camera[:3, :3]
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
            assert np.linalg.det(rotation) > 0
    assert len(showcase_path(path_cameras[:1], "extend")) == 122
    assert len(interpolated_cameras(path_cameras)) >= 45


def test_paths_between_parallel_cameras_are_straight(path_cameras):
    first = path_cameras[0]
    second = first.moved(first.world_from_camera @ np.array([[1, 0, 0, 1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    between = cameras_between(first, second, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(between[0].world_from_camera, first.world_from_camera, atol=1e-9)
    np.testing.assert_allclose(between[2].world_from_camera, second.world_from_camera, atol=1e-9)
    np.testing.assert_allclose(between[1].center, (first.center + second.center) / 2, atol=1e-9)

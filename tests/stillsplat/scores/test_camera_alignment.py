"""Alignment of cameras by centers and orientations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from stillsplat.scores.camera_alignment import align_cameras


def camera(center, rotation_vector):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    pose[:3, 3] = center
    return Camera(64, 48, 50, 50, 32, 24, pose)


def transformed(cameras, scale, rotation, translation, noise=0.0, random=None):
    moved = []
    for item in cameras:
        pose = np.eye(4)
        pose[:3, :3] = rotation @ item.world_from_camera[:3, :3]
        pose[:3, 3] = scale * rotation @ item.center + translation
        if noise:
            pose[:3, 3] += random.normal(0, noise, 3)
            pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(random.normal(0, noise / 10, 3)).as_matrix()
        moved.append(item.moved(pose))
    return moved


ROTATION = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
TRANSLATION = np.array([3.0, -2.0, 0.5])


@pytest.mark.parametrize("path", ["straight", "curved"])
def test_recovers_a_known_similarity(path):
    steps = np.linspace(0, 1, 12)
    cameras = [camera([t, 0.3 * t * t if path == "curved" else 0, 0], [0.1 * t, 0.3 * t, 0]) for t in steps]
    found = align_cameras(cameras, transformed(cameras, 2.5, ROTATION, TRANSLATION))
    assert found.similarity.scale == pytest.approx(2.5, rel=1e-9)
    np.testing.assert_allclose(found.similarity.rotation, ROTATION, atol=1e-9)
    np.testing.assert_allclose(found.similarity.translation, TRANSLATION, atol=1e-8)
    assert found.center_error < 1e-9 and found.rotation_error_degrees < 1e-6


def test_orientations_determine_the_rotation_about_a_straight_path():
    random = np.random.default_rng(0)
    cameras = [camera([t, 0, 0], [0.02 * t, 0, 0]) for t in np.linspace(0, 1, 30)]
    found = align_cameras(cameras, transformed(cameras, 0.7, ROTATION, TRANSLATION, 0.01, random))
    left = Rotation.from_matrix(found.similarity.rotation @ ROTATION.T).magnitude()
    # thirty orientations with errors of 0.001 rad per axis
    assert left < 3 * 0.001 * np.sqrt(3 / 30)
    assert found.similarity.scale == pytest.approx(0.7, rel=0.02)
    pose = found.similarity.apply_to_poses(cameras[0].world_from_camera)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_static_camera_has_the_given_scale():
    cameras = [camera([1, 2, 3], [0, 0.05 * t, 0]) for t in range(6)]
    target = transformed(cameras, 4.0, ROTATION, TRANSLATION)
    found = align_cameras(cameras, target, scale=4.0)
    np.testing.assert_allclose(
        found.similarity.apply_to_poses(cameras[3].world_from_camera), target[3].world_from_camera, atol=1e-9
    )
    assert align_cameras(cameras, target).similarity.scale == 1.0


def test_different_numbers_of_cameras():
    with pytest.raises(ValueError, match="cameras"):
        align_cameras([camera([0, 0, 0], [0, 0, 0])], [])

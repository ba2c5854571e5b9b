"""Fusion of depth maps of known surfaces."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores import depth_fusion
from dynamic_predictor.evaluation.scores.depth_fusion import DistanceVolume
from scene.camera import Camera
from scene.errors import InputError


def test_fused_depth_of_a_sphere():
    center, radius = np.array([0.1, -0.2, 3.0]), 0.8
    volume = DistanceVolume(0.02, 0.08)
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        pose = np.eye(4)
        c, s = np.cos(angle), np.sin(angle)
        pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        pose[:3, 3] = center - 3.0 * pose[:3, 2]
        camera = Camera(160, 120, 150.0, 150.0, 80.0, 60.0, pose)
        rays = camera.unproject(np.ones((120, 160))) - camera.center
        b = rays @ (camera.center - center)
        a = (rays**2).sum(-1)
        root = b**2 - a * (9.0 - radius**2)
        depth = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, 0.0)
        volume.integrate(depth.astype(np.float32), camera)
    points = volume.surface_points()
    distance = np.abs(np.linalg.norm(points - center, axis=1) - radius)
    assert len(points) > 3000
    assert np.median(distance) < 0.004 and np.quantile(distance, 0.99) < 0.02


def test_huge_surface_is_refused(monkeypatch):
    monkeypatch.setattr(depth_fusion, "_MAX_BLOCKS", 3000)
    camera = Camera(96, 64, 67.0, 67.0, 48.0, 32.0, np.eye(4))
    volume = DistanceVolume(4 / 512, 0.04)
    volume.integrate(np.full((64, 96), 1.5, np.float32), camera)
    assert len(volume.surface_points()) > 1000
    noise = np.random.default_rng(0).uniform(1, 500, (64, 96)).astype(np.float32)
    with pytest.raises(InputError, match="more than 3,000 cubes of 0.0625 units.*--mode=eval_pose") as caught:
        for _ in range(24):
            volume.integrate(noise, camera)
    assert "\n" not in str(caught.value)
    assert len(volume._keys) == len(volume._block_index) <= 3000


def test_surface_points_do_not_depend_on_the_batch_size(monkeypatch):
    camera = Camera(96, 64, 67.0, 67.0, 48.0, 32.0, np.eye(4))
    volume = DistanceVolume(0.02, 0.06)
    volume.integrate(np.random.default_rng(0).uniform(1.4, 1.5, (64, 96)).astype(np.float32), camera)
    whole = volume.surface_points()
    monkeypatch.setattr(depth_fusion, "_BLOCKS_AT_ONCE", 7)
    np.testing.assert_array_equal(volume.surface_points(), whole)

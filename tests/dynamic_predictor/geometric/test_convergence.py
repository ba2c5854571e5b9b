"""The convergence test of the predictor: two estimates of one clip compared by their rigid flow."""

from dataclasses import replace

import numpy as np

from dynamic_predictor.geometric.camera_estimate import CameraEstimate, SparseObservations
from dynamic_predictor.geometric.convergence import in_units_of, rigid_flow_shift
from scene.camera import Camera
from scene.scene import PointCloud

COUNT = 12


def estimate(scale: float = 1.0, turn: float = 0.0, focal: float = 200.0) -> CameraEstimate:
    rng = np.random.default_rng(0)
    cameras = []
    for k in range(COUNT):
        matrix = np.eye(4)
        matrix[:3, 3] = scale * np.array([0.1 * k, 0.02 * k, 0.01 * k * k])
        angle = turn * k
        matrix[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        cameras.append(Camera(160, 96, focal, focal, 80.0, 48.0, matrix))
    pixels = rng.uniform([0, 0], [160, 96], (COUNT * 30, 2)).astype(np.float32)
    inverse_depths = rng.uniform(0.1, 0.5, COUNT * 30) / scale
    starts = np.arange(COUNT + 1) * 30
    points = PointCloud(scale * rng.uniform(-1, 1, (5, 3)).astype(np.float32), np.zeros((5, 3), np.uint8))
    tracks = SparseObservations(starts, pixels, inverse_depths, np.arange(COUNT * 30))
    return CameraEstimate(cameras, "bundle_adjustment", 0.1, points, tracks, True)


def test_another_unit_of_length_is_no_change():
    one, other = estimate(), estimate(scale=1.7)
    same = in_units_of(other, one)
    assert rigid_flow_shift(one, same) < 1e-6
    np.testing.assert_allclose(same.cameras[-1].center, one.cameras[-1].center)
    np.testing.assert_allclose(same.points.positions, one.points.positions, rtol=1e-5)
    np.testing.assert_allclose(same.point_tracks.inverse_depths, one.point_tracks.inverse_depths)


def test_rotation_shifts_the_flow_by_focal_length_times_angle():
    # eight frames at 1e-4 radians each: 200 * 8e-4 = 0.16 pixels in the middle of the image, more off it
    turned = estimate(turn=1e-4)
    # points far away, on which only rotation has an effect
    far = replace(turned, point_tracks=replace(turned.point_tracks, inverse_depths=np.full(COUNT * 30, 1e-9)))
    shift = rigid_flow_shift(estimate(), far)
    assert 0.16 < shift < 0.16 * (1 + (80 / 200) ** 2) * (1 + (48 / 200) ** 2)


def test_losing_the_translation_is_a_change():
    assert rigid_flow_shift(estimate(), replace(estimate(), has_translation=False)) == np.inf

"""Rigid flow against the projection of points."""

import numpy as np

from dynamic_predictor.geometric.rigid_flow import RigidPair
from tests.dynamic_predictor.geometric.known_scene import HEIGHT, WIDTH, cast, path


def test_rigid_flow_agrees_with_projecting_points():
    cameras = path()
    depth = cast(cameras[2])
    points = cameras[2].unproject(depth).reshape(-1, 3)
    pixels, _ = cameras[5].project(points)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    expected = pixels.reshape(HEIGHT, WIDTH, 2) - np.stack([x + 0.5, y + 0.5], axis=-1)
    flow = RigidPair.between(cameras[2], cameras[5]).flow(1.0 / depth)
    np.testing.assert_allclose(flow, expected, atol=1e-3)

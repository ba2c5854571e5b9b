"""Cameras of the browser as cameras of the scene."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from viewer.view_camera import camera_of_view, vertical_angle


def test_the_picture_spans_the_vertical_angle_of_the_window():
    turn = Rotation.from_euler("xyz", [0.3, -0.4, 0.9])
    x, y, z, w = turn.as_quat()
    camera = camera_of_view(np.array([w, x, y, z]), np.array([1.0, 2.0, 3.0]), math.radians(60), 64, 48)
    np.testing.assert_allclose(camera.world_from_camera[:3, :3], turn.as_matrix(), atol=1e-12)
    assert vertical_angle(camera) == pytest.approx(math.radians(60))
    # a point 30 degrees below the axis is on the lower edge
    point = camera.center + turn.apply([0.0, math.tan(math.radians(30)), 1.0])
    np.testing.assert_allclose(camera.project(point[None])[0], [[32.0, 48.0]], atol=1e-9)

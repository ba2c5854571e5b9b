"""Projection of tracks against the formulas of a pinhole camera."""

import numpy as np
import pytest

from dynamic_predictor.geometric.reprojection import project_host
from dynamic_predictor.geometric.tracks import HostTracks
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, curved_path


def test_projection_agrees_with_the_pinhole_formula():
    truth = curved_path(count=3)
    host = HostTracks(0, np.array([[100.0, 50.0]]), np.array([2]), np.zeros((1, 1, 2)), np.ones((1, 1), bool))
    pixels, relative_depth = project_host(host, np.array([0.25]), truth, CENTER)
    point = np.array([(100 - CENTER[0]) / 350, (50 - CENTER[1]) / 350, 1.0]) * 4
    world = truth.rotations[0].T @ (point - truth.translations[0])
    target = truth.rotations[2] @ world + truth.translations[2]
    np.testing.assert_allclose(pixels[0, 0], 350 * target[:2] / target[2] + CENTER)
    assert relative_depth[0, 0] == pytest.approx(target[2] / 4)

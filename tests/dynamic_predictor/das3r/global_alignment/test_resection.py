"""Resected cameras against official results."""

import numpy as np
import pytest

from dynamic_predictor.das3r.global_alignment.resection import resect


@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_resection(golden_arrays, kind):
    data = golden_arrays("fast_pnp.npz")
    assert float(data[f"{kind}_focal"]) == float(data["focal"])
    pose = resect(data[f"{kind}_pts"], data["msk"], float(data["focal"]))
    assert pose is not None
    np.testing.assert_allclose(pose, data[f"{kind}_pose"], atol=1e-4)


def test_too_few_or_invalid_points_give_no_pose():
    points = np.full((8, 8, 3), np.nan)
    assert resect(points, np.ones((8, 8), bool), 10.0) is None
    assert resect(np.zeros((8, 8, 3)), np.zeros((8, 8), bool), 10.0) is None
    assert resect(np.ones((8, 8, 3)), np.ones((8, 8), bool), float("nan")) is None

"""Focal lengths of pointmaps against official results."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.focal import estimate_focal


def test_focal_of_pointmaps(golden_arrays):
    data = golden_arrays("focal.npz")
    for k, points in enumerate(torch.from_numpy(data["pts3d"])):
        center = tuple(data["pp"][k])
        assert estimate_focal(points, center) == pytest.approx(data["weiszfeld"][k], rel=1e-4)


def test_focal_of_nothing_is_not_a_number():
    assert np.isnan(estimate_focal(torch.zeros(4, 6, 3)))

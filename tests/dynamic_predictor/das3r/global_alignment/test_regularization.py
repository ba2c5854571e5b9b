"""The regularization terms against official values."""

import pytest

from dynamic_predictor.das3r.global_alignment.regularization import depth_shape_change


def test_change_of_depth_shape(geometry):
    log_depth = geometry["depth"].reshape(6, -1).log()
    weight = geometry["si_weight"].reshape(3, -1)
    plain = depth_shape_change(log_depth[:3], log_depth[1:4])
    weighted = depth_shape_change(log_depth[:3], log_depth[1:4], weight)
    assert float(plain) == pytest.approx(float(geometry["si_loss"]), rel=1e-4)
    assert float(weighted) == pytest.approx(float(geometry["si_loss_weighted"]), rel=1e-4)

"""Learning rate schedules against official values, and settings that are refused."""

import numpy as np
import pytest

from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings, learning_rate
from scene.errors import InputError


@pytest.mark.parametrize("schedule", ["cosine", "linear", "cycle2"])
def test_learning_rates(golden_arrays, schedule):
    data = golden_arrays("transforms.npz")
    expected = data["cycled2" if schedule == "cycle2" else schedule]
    settings = AlignmentSettings(learning_rate=expected[0], final_learning_rate=expected[-1], schedule=schedule)
    np.testing.assert_allclose([learning_rate(t, settings) for t in data["t"]], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "change", [{"iterations": -1}, {"schedule": "zigzag"}, {"learning_rate": 0.0}, {"flow_loss_weight": float("nan")}]
)
def test_bad_settings_are_refused(change):
    with pytest.raises(InputError):
        AlignmentSettings(**change)

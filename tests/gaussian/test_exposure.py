"""Exposures of trained and held-out frames."""

import numpy as np

from gaussian.exposure import ExposureCompensation


def test_the_mean_of_trained_frames_is_the_identity_and_held_out_ones_lie_between() -> None:
    exposures = ExposureCompensation(5)
    random = np.random.default_rng(0)
    for _ in range(20):
        for frame in (0, 1, 3, 4):
            exposures.step(frame, random.normal(frame, 1, (3, 2)), 1e-2)
    np.testing.assert_array_equal(exposures.values[2], [[1, 0]] * 3)
    exposures.center([0, 1, 3, 4])
    np.testing.assert_allclose(exposures.values[[0, 1, 3, 4]].mean(axis=0), [[1, 0]] * 3, atol=1e-12)
    exposures.interpolate([2], [0, 1, 3, 4])
    np.testing.assert_allclose(exposures.values[2], (exposures.values[1] + exposures.values[3]) / 2)


def test_exposures_return_to_the_identity_without_gradients_and_skip_those_that_are_not_finite() -> None:
    exposures = ExposureCompensation(1)
    exposures.values[0] = [[1.2, 0.1]] * 3
    before = exposures.values.copy()
    exposures.step(0, np.full((3, 2), np.nan), 1e-2)
    np.testing.assert_array_equal(exposures.values, before)
    for _ in range(300):
        exposures.step(0, np.zeros((3, 2)), 1e-3)
    np.testing.assert_allclose(exposures.values[0], [[1, 0]] * 3, atol=1e-2)

"""Parts of the evidence for motion on maps whose properties are known."""

import numpy as np

from dynamic_predictor.geometric.motion_evidence import EVIDENCE_LIMIT, background_drift, log_odds, prominence
from tests.dynamic_predictor.geometric.known_scene import HEIGHT, WIDTH


def test_background_drift_is_found_beside_a_moving_object():
    random = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    drift = np.stack([0.5 + 0.004 * x, -0.3 + 0.002 * y], axis=-1)
    error = (drift + random.normal(0, 0.1, drift.shape)).astype(np.float32)
    error[30:60, 30:80] += 5.0
    found, scale = background_drift(error, np.full((HEIGHT, WIDTH), 0.01, np.float32))
    np.testing.assert_allclose(found, drift, atol=0.1)
    assert scale < 1.5


def test_prominence_of_a_separate_object_but_not_of_one_on_the_ground():
    rows = np.arange(60, dtype=np.float32)[:, None]
    inverse_depth = np.broadcast_to(np.maximum(rows - 20, 0) / 40.0, (60, 80)).copy()
    inverse_depth[10:41, 10:20] = inverse_depth[41, 0]  # a post, as near as the ground at its foot
    inverse_depth[15:25, 50:60] = 3.0  # nearer than all ground, and not connected to it
    height, spread = prominence(inverse_depth, np.ones((60, 80), bool))
    assert height[15:25, 50:60].min() > 2 * spread
    assert height[10:41, 10:20].max() < 0.1 * spread


def test_residuals_between_the_two_limits_are_slight_motion_only():
    moving, slight, static = log_odds(np.square(np.array([0.0, 2.9, 3.1, 4.4, 4.6, 50.0], np.float32)))
    assert (static > 0).tolist() == [True, True, False, False, False, False]
    assert (slight > 0).tolist() == [False, False, True, True, True, True]
    assert (moving > 0).tolist() == [False, False, False, False, True, True]
    assert (moving <= slight).all()
    # the Rayleigh distribution: half the squared length, from the density at three standard deviations on
    np.testing.assert_allclose(static[:2], [4.5, 4.5 - 0.5 * 2.9**2], rtol=1e-5)
    assert moving[-1] == slight[-1] == EVIDENCE_LIMIT

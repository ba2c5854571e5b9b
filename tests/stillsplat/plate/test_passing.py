"""The color that comes back over a clip is what stays."""

import numpy as np

from stillsplat.plate.passing import recurring


def test_what_stays_and_what_passes() -> None:
    times = np.arange(0, 40, 4)
    candidates = np.random.default_rng(0).uniform(size=(10, 3, 3))
    visible = np.ones((10, 3), bool)
    candidates[[0, 4, 8], 0] = (0.5, 0.4, 0.3)  # comes back
    candidates[[3, 4, 5], 1] = (0.9, 0.1, 0.1)  # passes in ten frames in a row
    candidates[[0, 5, 9], 2] = (0.2, 0.2, 0.2)
    visible[5, 2] = False  # behind something at that time
    found = recurring(candidates, visible, times, 40)
    assert np.flatnonzero(found[:, 0]).tolist() == [0, 4, 8]
    assert not found[:, 1].any() and not found[:, 2].any()

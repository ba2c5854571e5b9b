"""Passes from many starting frames, aligned to one scene."""

import numpy as np
import pytest

from dynamic_predictor.contract import Views
from dynamic_predictor.cut3r.global_alignment import MOST_FRAMES, starting_orders
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.clips import clip, predictor_of
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network


def test_starting_orders():
    assert starting_orders(5) == [
        [0, 1, 2, 3, 4],
        [1, 3],
        [2, 4],
        [2, 0],
        [3, 1],
        [4, 2, 0],
    ]
    assert starting_orders(1) == [] and starting_orders(2) == [[0, 1]]


def test_a_short_clip_is_aligned():
    predictor = predictor_of(filled_network(MINIMAL), global_alignment=True)
    stages = set()
    found = predictor.predict(Views(clip(4)), progress=lambda stage, done, total: stages.add(stage))
    assert {"encoding frames", "pairs of frames", "global alignment"} <= stages
    np.testing.assert_allclose(found.poses()[0], np.eye(4), atol=1e-9)
    assert len(found) == 4 and np.isfinite(found.poses()).all() and found.size == (40, 60)
    assert found.intrinsics is not None and np.allclose(found.intrinsics, found.intrinsics[0])
    assert all(0 <= found.confidence[i].min() and found.confidence[i].max() <= 1 for i in range(4))
    with pytest.raises(InputError, match="global alignment"):
        predictor.start()
    with pytest.raises(InputError, match=f"2 to {MOST_FRAMES} frames, not 65"):
        predictor.predict(Views(clip(65, width=40, height=40)))

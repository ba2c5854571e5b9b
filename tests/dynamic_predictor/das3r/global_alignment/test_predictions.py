"""Storage of pair predictions: number formats and unusable values."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from scene.errors import InputError
from tests.synthetic_pairs import SyntheticClip


def test_far_points_fit_into_half_precision():
    clip = SyntheticClip.make(3, 16, 32, moving_ball=False)
    predictions = PairPredictions(pair_edges(3, "complete"), 16, 32)
    points = clip.camera_points(0) * 1e5
    points[0, 0] = 1e12
    ones = np.full((16, 32), 3.0, np.float32)
    predictions.store(0, points, ones, points, ones)
    kept = predictions.view_points(0, 0).T.reshape(16, 32, 3)
    np.testing.assert_allclose(kept[1:], points[1:], rtol=1e-3)
    assert torch.isfinite(predictions.points).all()
    assert float(predictions.view_confidence(0, 0)[0]) == 0.0


def test_frames_without_a_pair_are_refused():
    with pytest.raises(InputError, match="frame 2 is in no pair"):
        PairPredictions([(0, 1), (1, 0), (3, 0)], 8, 16)

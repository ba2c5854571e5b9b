"""Motion masks from the mask heads' outputs for many pairs; test_align.py compares them with official values."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.align import align
from dynamic_predictor.das3r.global_alignment.motion_masks import fit_to_edges, motion_probability
from dynamic_predictor.das3r.global_alignment.official import OFFICIAL
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from tests.synthetic_pairs import SyntheticClip


def test_both_heads_count_by_default():
    predictions = PairPredictions([(0, 1), (1, 0), (0, 2), (2, 0)], 4, 4, dtype=torch.float32)
    points, ones = np.ones((4, 4, 3)), np.ones((4, 4))
    for pair, (first, second) in enumerate([(0.1, 0.9), (0.3, 0.5), (0.7, 0.2), (0.4, 0.6)]):
        predictions.store(pair, points, ones, points, ones, first * ones, second * ones)
    assert motion_probability(predictions)[:, 0, 0].tolist() == pytest.approx([0.475, 0.6, 0.3])
    official = motion_probability(predictions, OFFICIAL)
    assert official[:, 0, 0].tolist() == pytest.approx([0.4, 0.3, 0.4])


def test_fitting_to_edges_repairs_blurred_masks():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 48, 64), bool)
    truth[0, 10:30, 20:45] = truth[1, 15:40, 5:30] = True
    images = [
        np.where(mask[..., None], [200, 80, 60], [60, 120, 90]) + rng.integers(-4, 5, (48, 64, 3)) for mask in truth
    ]
    sloppy = np.roll(truth, 2, axis=2).astype(np.float32) * 0.7 + rng.uniform(0.0, 0.35, truth.shape).astype(np.float32)
    fitted = fit_to_edges(sloppy, images)

    def overlap(found):
        return (found & truth).sum() / (found | truth).sum()

    assert overlap(sloppy > 0.5) < 0.9
    assert overlap(fitted > 0.5) > 0.93
    assert fitted.min() >= 0.0 and fitted.max() <= 1.0


def test_official_masks_are_not_fitted_to_edges():
    clip = SyntheticClip.make(3, 16, 32)
    predictions = PairPredictions(pair_edges(3, "complete"), 16, 32)
    clip.fill(predictions)
    images = [np.random.default_rng(0).integers(0, 255, (16, 32, 3), np.uint8)] * 3
    plain, official, fitted = (
        align(predictions, AlignmentSettings(iterations=0, strict_official=strict), images=given).motion_probability
        for strict, given in ((True, None), (True, images), (False, images))
    )
    np.testing.assert_array_equal(plain, official)
    assert np.abs(plain - fitted).max() > 0.01

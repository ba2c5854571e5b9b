"""Relative pose scores against results of Depth Anything 3's benchmark and of StreamVGGT's evaluation."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.pair_poses import area_under_curve, pair_errors, score_pair_poses
from tests.paths import DATA


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "da3" / "maths_bench.npz")


@pytest.mark.parametrize("count", [2, 6, 10])
def test_scores_equal_the_official_ones(golden, count):
    true, predicted = golden[f"pose{count}/gt_w2c"], golden[f"pose{count}/pred_w2c"]
    rotation, translation = pair_errors(predicted, true)
    np.testing.assert_allclose(rotation, golden[f"pose{count}/rerr"], atol=1e-4)
    np.testing.assert_allclose(translation, golden[f"pose{count}/terr"], atol=1e-4)
    scores = score_pair_poses(predicted, true)
    for limit in (3, 5, 15, 30):
        assert getattr(scores, f"auc_{limit}") == pytest.approx(float(golden[f"pose{count}/auc{limit:02d}"]), abs=1e-9)


def test_poses_of_co3d_equal_the_official_ones():
    """By the definition of VGGT and StreamVGGT."""
    golden = np.load(DATA / "co3d_poses.npz")
    rotation, translation = pair_errors(golden["pred_w2c"], golden["gt_w2c"], "vggt")
    np.testing.assert_allclose(rotation, golden["rel_rot_deg"], atol=1e-3)
    np.testing.assert_allclose(translation, golden["rel_trans_deg"], atol=1e-3)
    scores = score_pair_poses(golden["pred_w2c"], golden["gt_w2c"], "vggt")
    for limit in (3, 5, 15, 30):
        assert getattr(scores, f"auc_{limit}") == pytest.approx(float(golden[f"co3d_auc_{limit}"]), abs=1e-9)


def test_area_under_curve_by_hand():
    errors = np.array([0.5, 1.5, 2.5, 9.0])
    # below 1: 1 of 4, below 2: 2 of 4, below 3: 3 of 4
    assert area_under_curve(errors, np.zeros(4), 3) == pytest.approx((0.25 + 0.5 + 0.75) / 3)

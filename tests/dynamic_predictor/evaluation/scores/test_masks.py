"""Mask scores against results of the DAVIS benchmark's own code."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores import masks
from dynamic_predictor.evaluation.scores.sizes import mask_at_prediction
from tests.paths import DATA

GOLDENS = DATA / "das3r_metrics_mask.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def test_region_and_boundary_equal_the_benchmark(golden):
    for index in range(len(golden["unit_gt"])):
        predicted, annotated = golden["unit_pred"][index] > 0, golden["unit_gt"][index] > 0
        assert masks.region_similarity(predicted, annotated) == pytest.approx(golden["unit_J"][index], abs=1e-9)
        assert masks.boundary_accuracy(predicted, annotated) == pytest.approx(golden["unit_F"][index], abs=1e-9)


def clips(golden) -> list[masks.MaskScores]:
    """The two clips of the golden file: DAS3R's predictions, without the last two frames of the second clip."""
    scores = []
    for name, count in (("seqa", 5), ("seqb", 4)):
        pairs = []
        for index in range(count):
            key = f"{name}_pred_{index}"
            height, width = golden[f"{name}_predshape_{index if key in golden else 0}"]
            predicted = np.zeros((height, width), bool)  # a missing prediction counts as an empty mask
            if key in golden:
                predicted = np.unpackbits(golden[key])[: height * width].reshape(height, width) > 0
            annotated = mask_at_prediction(golden[f"{name}_gt_{index}"] > 0, int(width), int(height))
            pairs.append((predicted, annotated))
        scores.append(masks.score_masks(pairs))
    return scores


def test_clips_equal_the_reference_evaluation(golden):
    scores = clips(golden)
    j, f = (sum((getattr(score, f"{name}_per_frame") for score in scores), []) for name in "jf")
    np.testing.assert_allclose(j, golden["JM_per_frame"], atol=1e-12)
    np.testing.assert_allclose(f, golden["FM_per_frame"], atol=1e-12)
    summary = masks.summarize_over_frames(scores)
    assert (summary.clips, summary.frames) == (2, 9)
    figures = (summary.j_mean, summary.j_recall, summary.f_mean, summary.f_recall)
    np.testing.assert_allclose(figures, [float(golden[name]) for name in ("JM", "JR", "FM", "FR")], atol=1e-12)


def test_means_over_clips(golden):
    scores = clips(golden)
    summary = masks.summarize_over_clips(scores)
    j = golden["JM_per_frame"]
    assert summary.j_mean == pytest.approx((j[:5].mean() + j[5:].mean()) / 2)
    assert summary.j_recall == pytest.approx((1.0 + 0.5) / 2)
    assert summary.j_decay == pytest.approx(np.mean([masks.decay(j[:5]), masks.decay(j[5:])]))


def test_decay_equals_the_benchmark(golden):
    values = golden["stat_in"]
    found = (values.mean(), (values > 0.5).mean(), masks.decay(values))
    np.testing.assert_allclose(found, golden["stat_out"], atol=1e-12)
    assert np.isnan(masks.decay(values[:3]))
    assert masks.decay(np.linspace(1, 0, 1000)) == pytest.approx(0.75, abs=1e-2)  # clips longer than 255 frames too


def test_pooled_iou():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    half = full.copy()
    half[:2] = False
    scores = masks.score_masks([(half, full), (empty, empty), (full, empty)])
    assert scores.iou_pooled == pytest.approx(10 / 40)
    assert scores.j_per_frame == pytest.approx([0.5, 1.0, 0.0])
    assert np.isnan(masks.score_masks([(empty, empty)]).iou_pooled)
    assert masks.score_masks([]).frames == 0
    assert masks.summarize_over_clips([]).frames == 0 and np.isnan(masks.summarize_over_frames([]).j_mean)
    with pytest.raises(ValueError, match="masks"):
        masks.score_masks([(full, full[:2])])

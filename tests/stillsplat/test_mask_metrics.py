"""Mask scores against goldens of the DAVIS benchmark's own code."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dynamic_predictor.evaluation import masks

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "parity" / "das3r" / "metrics_mask.npz"


@pytest.fixture(scope="module")
def golden():
    if not GOLDENS.exists():
        pytest.skip("the goldens of the reference implementation are not beside this clone")
    with np.load(GOLDENS, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def test_region_and_boundary_equal_the_benchmark(golden):
    for index in range(len(golden["unit_gt"])):
        predicted, annotated = golden["unit_pred"][index], golden["unit_gt"][index]
        assert masks.region_similarity(predicted, annotated) == pytest.approx(golden["unit_J"][index], abs=1e-9)
        assert masks.boundary_accuracy(predicted, annotated) == pytest.approx(golden["unit_F"][index], abs=1e-9)


def test_sequences_equal_the_reference_evaluation(golden):
    pairs = []
    for sequence, count in (("seqa", 5), ("seqb", 4)):
        for index in range(count):
            annotated = golden[f"{sequence}_gt_{index}"]
            key = f"{sequence}_pred_{index}"
            shape = tuple(golden[f"{sequence}_predshape_{index if key in golden else 0}"])
            # the reference's loader enlarges annotations bicubically and counts all above zero
            grey = Image.fromarray((annotated > 0).astype(np.uint8) * 128)
            resized = np.array(grey.resize(shape[::-1], Image.Resampling.BICUBIC)) > 0
            if key in golden:
                predicted = np.unpackbits(golden[key])[: shape[0] * shape[1]].reshape(shape) > 0
            else:  # a frame without a prediction counts as an empty one
                predicted = np.zeros(shape, bool)
            pairs.append((predicted, resized))
    scores = masks.score_masks(pairs)
    np.testing.assert_allclose(scores.j_per_frame[:5], golden["JM_per_frame"][:5], atol=1e-9)
    np.testing.assert_allclose(scores.f_per_frame[:5], golden["FM_per_frame"][:5], atol=1e-9)
    # enlarging 90 rows to 288 rounds differently at a few pixels of the border
    np.testing.assert_allclose(scores.j_per_frame, golden["JM_per_frame"], atol=1e-3)
    np.testing.assert_allclose(scores.f_per_frame, golden["FM_per_frame"], atol=3e-3)
    assert scores.j_mean == pytest.approx(float(golden["JM"]), abs=1e-3)
    assert scores.j_recall == pytest.approx(float(golden["JR"]))
    assert scores.f_mean == pytest.approx(float(golden["FM"]), abs=1e-3)
    assert scores.frames == 9


def test_pooled_iou_is_one_pot():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    half = full.copy()
    half[:2] = False
    scores = masks.score_masks([(half, full), (empty, empty), (full, empty)])
    assert scores.iou_pooled == pytest.approx(10 / 40)
    assert scores.j_per_frame == pytest.approx([0.5, 1.0, 0.0])
    assert np.isnan(masks.score_masks([(empty, empty)]).iou_pooled)
    assert masks.score_masks([]).frames == 0
    with pytest.raises(ValueError, match="masks"):
        masks.region_similarity(full, full[:2])

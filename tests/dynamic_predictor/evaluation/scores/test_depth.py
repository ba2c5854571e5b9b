"""Depth scores against results of the reference's `depth_evaluation`, and general properties of such scores."""

from dataclasses import astuple

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.depth import DepthProtocol, DepthScores, mean_depth_scores, score_depth
from tests.paths import DATA

GOLDEN = DATA / "das3r_metrics_depth.npz"


LEAST_SQUARES = DepthProtocol(alignment="scale_shift_least_squares")


CASES = {
    "median": DepthProtocol(),
    "scale": DepthProtocol(alignment="scale"),
    "scale_max70": DepthProtocol(alignment="scale", max_depth=70),
    "nomax": DepthProtocol(alignment="scale", max_depth=None),
    "lstsq": LEAST_SQUARES,
    "lstsq_clip": DepthProtocol(
        alignment="scale_shift_least_squares", clip_predicted=(1.0, None), clip_aligned=(0.1, 20)
    ),
    "lad": DepthProtocol(alignment="scale_shift_least_absolute"),
    "lad2": DepthProtocol(alignment="scale_shift_adam", learning_rate=1e-3, steps=200),
    "lad2_default": DepthProtocol(alignment="scale_shift_adam"),
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file}


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_the_reference(golden: dict[str, np.ndarray], case: str) -> None:
    scores = score_depth(golden["pred"], golden["gt"], CASES[case])
    np.testing.assert_allclose(astuple(scores), golden[case], rtol=1e-5)


@pytest.mark.parametrize("case", ["lad2", "lad2_default"])
def test_reused_sums_equal_the_reference(
    golden: dict[str, np.ndarray], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for more pixels than are summed up in each step."""
    monkeypatch.setattr("dynamic_predictor.evaluation.scores.depth._DIRECT", 0)
    scores = score_depth(golden["pred"], golden["gt"], CASES[case])
    np.testing.assert_allclose(astuple(scores), golden[case], rtol=1e-5)


def test_a_single_image_equals_the_reference(golden: dict[str, np.ndarray]) -> None:
    scores = score_depth(golden["pred"][0], golden["gt"][0], CASES["scale"])
    np.testing.assert_allclose(astuple(scores), golden["single_image"], rtol=1e-5)


def test_disparity_equals_the_reference(golden: dict[str, np.ndarray]) -> None:
    protocol = DepthProtocol(alignment="scale_shift_least_squares", disparity=True)
    scores = score_depth(1 / golden["pred"], golden["gt"], protocol)
    np.testing.assert_allclose(astuple(scores), golden["disp_lstsq"], rtol=1e-5)


@pytest.mark.parametrize("alignment", ["median", "scale", "scale_shift_least_squares"])
def test_a_scaled_truth_is_perfect(alignment: str) -> None:
    true = np.random.default_rng(0).uniform(1, 50, (2, 30, 40)).astype(np.float32)
    true[0, :5] = 0
    scores = score_depth(0.013 * true, true, DepthProtocol(alignment=alignment))  # type: ignore[arg-type]
    assert scores.abs_rel < 1e-5 and scores.delta_1 == 1.0 and scores.valid_pixels == 2 * 30 * 40 - 5 * 40


def test_metric_depth_is_not_aligned() -> None:
    true = np.full((4, 5), 2.0, np.float32)
    scores = score_depth(1.5 * true, true, DepthProtocol(alignment="none"))
    assert scores.abs_rel == pytest.approx(0.5) and scores.rmse == pytest.approx(1.0)
    assert scores.delta_1 == 0.0 and scores.delta_2 == 1.0


def test_least_squares_is_optimal(golden: dict[str, np.ndarray]) -> None:
    """No other scale and shift has a smaller error."""
    generator = np.random.default_rng(0)
    best = score_depth(golden["pred"], golden["gt"], LEAST_SQUARES).rmse
    for _ in range(50):
        scale, shift = generator.normal(3, 0.3), generator.normal(0, 1)
        tried = score_depth(scale * golden["pred"] + shift, golden["gt"], DepthProtocol(alignment="none"))
        assert tried.rmse >= best


def test_no_valid_pixels() -> None:
    empty = np.zeros((3, 4), np.float32)
    assert score_depth(empty + 1, empty) == DepthScores(0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        score_depth(empty, empty[:2])


def test_means_over_clips() -> None:
    long = DepthScores(0.1, 0, 0, 0, 1.0, 1, 1, 300)
    short = DepthScores(0.5, 0, 0, 0, 0.0, 1, 1, 100)
    assert mean_depth_scores([long, short]).abs_rel == pytest.approx(0.2)
    assert mean_depth_scores([long, short]).delta_1 == pytest.approx(0.75)
    assert mean_depth_scores([long, short]).valid_pixels == 400
    assert mean_depth_scores([]).valid_pixels == 0

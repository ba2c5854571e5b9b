"""Depth figures against goldens of the reference's `depth_evaluation`, and facts that hold for any such figure."""

from dataclasses import astuple

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.depth import DepthProtocol, DepthScores, mean_depth_scores, score_depth
from dynamic_predictor.evaluation.scores.sizes import depth_at_truth, mask_at_prediction
from scene.images import fitted_size
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
def test_figures_equal_the_reference(golden: dict[str, np.ndarray], case: str) -> None:
    scores = score_depth(golden["pred"], golden["gt"], CASES[case])
    np.testing.assert_allclose(astuple(scores), golden[case], rtol=1e-5)


def test_masked_figures_equal_the_reference(golden: dict[str, np.ndarray]) -> None:
    """The alignment sees all pixels, the figures those of the mask."""
    scores = score_depth(golden["pred"], golden["gt"], CASES["scale"], mask=golden["custom_mask"])
    np.testing.assert_allclose(astuple(scores), golden["scale_masked"], rtol=1e-5)


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


def test_least_squares_has_the_least_squares(golden: dict[str, np.ndarray]) -> None:
    """Scale and shift never fit worse than any other pair that is tried."""
    generator = np.random.default_rng(0)
    best = score_depth(golden["pred"], golden["gt"], LEAST_SQUARES).rmse
    for _ in range(50):
        scale, shift = generator.normal(3, 0.3), generator.normal(0, 1)
        tried = score_depth(scale * golden["pred"] + shift, golden["gt"], DepthProtocol(alignment="none"))
        assert tried.rmse >= best


def test_nothing_to_compare() -> None:
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


class TestSizes:
    def test_a_plane_stays_a_plane(self) -> None:
        rows, columns = np.mgrid[:20, :32]
        plane = (5 + 0.1 * (rows + 0.5) + 0.05 * (columns + 0.5)).astype(np.float32)
        enlarged, says = depth_at_truth(plane, 64, 40)
        rows, columns = np.mgrid[:40, :64]
        expected = 5 + 0.05 * (rows + 0.5) + 0.025 * (columns + 0.5)
        assert says.all() and np.allclose(enlarged[4:-4, 4:-4], expected[4:-4, 4:-4], atol=0.01)

    def test_unknown_depth_does_not_bleed(self) -> None:
        depth = np.full((20, 32), 7.0, np.float32)
        depth[5:9, 10:20] = 0
        enlarged, says = depth_at_truth(depth, 100, 62)
        assert np.allclose(enlarged[says], 7.0, atol=1e-4) and 0.9 < says.mean() < 1

    def test_the_margin_that_was_cut_is_not_compared(self) -> None:
        enlarged, says = depth_at_truth(np.ones((208, 512), np.float32), 1024, 436)
        assert not says[:10].any() and not says[-10:].any() and says[10:-10].all() and enlarged.shape == (436, 1024)

    @pytest.mark.parametrize("size", [(1242, 375), (854, 480), (640, 480), (375, 1242), (1023, 577)])
    def test_rounding_of_a_side_is_no_cut(self, size: tuple[int, int]) -> None:
        ours = fitted_size(*size, 512)
        enlarged, says = depth_at_truth(np.ones(ours[::-1], np.float32), *size)
        assert says.all() and np.allclose(enlarged, 1, atol=1e-5)
        half = np.zeros(size[::-1], bool)
        half[:, : size[0] // 2] = True
        assert mask_at_prediction(half, *ours).mean() == pytest.approx(0.5, abs=2 / ours[0])

    def test_a_mask_is_cut_as_the_frames_were(self) -> None:
        """1024x436 becomes 512x218 and then 512x208: five rows are lost above and below."""
        mask = np.zeros((436, 1024), bool)
        mask[10:426] = True
        assert mask_at_prediction(mask, 512, 208).all()
        assert not mask_at_prediction(~mask, 512, 208).any()

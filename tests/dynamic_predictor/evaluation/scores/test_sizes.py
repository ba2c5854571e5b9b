"""Resizing of depth and masks between the sizes of prediction and truth."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.sizes import depth_at_truth, mask_at_prediction
from scene.images import fitted_size


class TestSizes:
    def test_a_plane_stays_a_plane(self) -> None:
        rows, columns = np.mgrid[:20, :32]
        plane = (5 + 0.1 * (rows + 0.5) + 0.05 * (columns + 0.5)).astype(np.float32)
        enlarged, is_known = depth_at_truth(plane, 64, 40)
        rows, columns = np.mgrid[:40, :64]
        expected = 5 + 0.05 * (rows + 0.5) + 0.025 * (columns + 0.5)
        assert is_known.all() and np.allclose(enlarged[4:-4, 4:-4], expected[4:-4, 4:-4], atol=0.01)

    def test_unknown_depth_does_not_bleed(self) -> None:
        depth = np.full((20, 32), 7.0, np.float32)
        depth[5:9, 10:20] = 0
        enlarged, is_known = depth_at_truth(depth, 100, 62)
        assert np.allclose(enlarged[is_known], 7.0, atol=1e-4) and 0.9 < is_known.mean() < 1

    def test_the_margin_that_was_cut_is_not_compared(self) -> None:
        enlarged, is_known = depth_at_truth(np.ones((208, 512), np.float32), 1024, 436)
        assert (
            not is_known[:10].any()
            and not is_known[-10:].any()
            and is_known[10:-10].all()
            and enlarged.shape == (436, 1024)
        )

    @pytest.mark.parametrize("size", [(1242, 375), (854, 480), (640, 480), (375, 1242), (1023, 577)])
    def test_rounding_of_a_side_is_no_cut(self, size: tuple[int, int]) -> None:
        ours = fitted_size(*size, 512)
        enlarged, is_known = depth_at_truth(np.ones(ours[::-1], np.float32), *size)
        assert is_known.all() and np.allclose(enlarged, 1, atol=1e-5)
        half = np.zeros(size[::-1], bool)
        half[:, : size[0] // 2] = True
        assert mask_at_prediction(half, *ours).mean() == pytest.approx(0.5, abs=2 / ours[0])

    def test_a_mask_is_cut_as_the_frames_were(self) -> None:
        """1024x436 is shrunk to 512x218 and cropped to 512x208, which removes five rows at the top and bottom."""
        mask = np.zeros((436, 1024), bool)
        mask[10:426] = True
        assert mask_at_prediction(mask, 512, 208).all()
        assert not mask_at_prediction(~mask, 512, 208).any()

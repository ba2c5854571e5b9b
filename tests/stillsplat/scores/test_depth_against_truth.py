"""Errors of depth after one scale for the whole clip."""

from typing import cast

import numpy as np
import pytest

from scene.maps import FrameMaps
from stillsplat.scores.depth_against_truth import depth_figures, depth_scale, rendered_depth_error
from stillsplat.scores.run_truth import RunTruth


class Truth:
    """Depth 2 and 4 in two frames of 10x20 pixels; a quarter of each frame is moving, the top row is sky."""

    def __len__(self) -> int:
        return 2

    def depth(self, index: int) -> np.ndarray:
        depth = np.full((10, 20), 2.0 * (index + 1), np.float32)
        depth[0] = 0
        return depth

    clean_depth = depth

    def mask(self, index: int) -> np.ndarray:
        mask = np.zeros((10, 20), bool)
        mask[:, :5] = True
        return mask


TRUTH = cast(RunTruth, Truth())


def estimates(factor: float) -> list[np.ndarray]:
    """The truth times `factor`, wrong on moving pixels, and 10 % too far on a tenth of the static ones."""
    maps = [factor * TRUTH.depth(index) for index in range(2)]  # type: ignore[operator]
    for depth in maps:
        depth[:, :5] = 77
        depth[9, 5:] *= 1.1
    return maps


def test_one_scale_for_the_clip() -> None:
    maps = cast(FrameMaps, estimates(0.25))
    assert depth_scale(maps, TRUTH) == pytest.approx(4.0)
    figures = depth_figures(maps, TRUTH)
    assert figures["depth_abs_rel"] == pytest.approx(0.1 / 9, rel=1e-4)
    assert figures["depth_median_rel"] == pytest.approx(0, abs=1e-6) and figures["depth_coverage"] == 1.0


def test_unknown_depth_lowers_the_coverage() -> None:
    maps = estimates(1.0)
    maps[0][:] = 0
    assert depth_figures(cast(FrameMaps, maps), TRUTH)["depth_coverage"] == 0.5
    maps[1][:] = 0
    assert np.isnan(depth_figures(cast(FrameMaps, maps), TRUTH)["depth_abs_rel"])


def test_rendered_depth() -> None:
    assert rendered_depth_error(lambda index: 3 * Truth().depth(index), TRUTH) == pytest.approx(0, abs=1e-6)
    assert np.isnan(rendered_depth_error(lambda index: np.zeros((10, 20), np.float32), TRUTH))

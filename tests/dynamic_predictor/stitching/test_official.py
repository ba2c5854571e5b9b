"""The official scale of "scale+se3" against its goldens (tests/data/da3) and in every case of its rules."""

import numpy as np
import pytest

from dynamic_predictor.stitching.official import official_depth_scale


@pytest.fixture(scope="session")
def maps(golden):
    return [golden[f"align/{name}"] for name in ("dep1", "dep2", "c1", "c2")]


@pytest.mark.parametrize("method", ["ransac", "weighted", "auto"])
def test_scale_and_quality_are_the_official_ones(golden, maps, method):
    found = official_depth_scale(*maps, method=method)
    np.testing.assert_allclose([found.scale, found.quality], golden[f"scale/{method}"], rtol=1e-6)
    assert found.method == ("weighted" if method == "weighted" else "ransac")


def test_no_scale_has_more_inliers():
    """No scale of a fine grid has more inliers than the one found."""
    rng = np.random.default_rng(3)
    moved = rng.uniform(1, 20, 2000)
    reference = 0.8 * moved + rng.normal(0, 0.05, 2000)
    reference[:900] = rng.uniform(1, 20, 900)
    found = official_depth_scale(reference, moved, np.ones(2000), np.ones(2000), method="ransac")
    explained = [(np.abs(reference - scale * moved) <= 0.1).mean() for scale in np.linspace(0.5, 1.5, 4001)]
    assert max(explained) <= found.quality <= max(explained) + 0.005
    assert found.scale == pytest.approx(0.8, abs=0.003)


def test_two_good_estimates_are_averaged_otherwise_the_better_one_is_used():
    rng = np.random.default_rng(4)
    moved = rng.uniform(1, 5, 1000)
    reference = 1.3 * moved * (1 + rng.uniform(-0.01, 0.01, 1000))
    peaked, flat = np.full(1000, 0.1), np.ones(1000)
    peaked[7] = 100.0  # one pixel has nearly all of the weight, so the entropy is low
    mean = official_depth_scale(reference, moved, peaked, peaked)
    parts = [official_depth_scale(reference, moved, peaked, peaked, method=name) for name in ("ransac", "weighted")]
    assert mean.method == "average" and mean.scale == pytest.approx((parts[0].scale + parts[1].scale) / 2)
    assert mean.quality == max(part.quality for part in parts)
    assert official_depth_scale(reference, moved, flat, flat).method == "ransac"
    lone = rng.uniform(1, 5, 1000)
    assert official_depth_scale(lone, moved, peaked, peaked).method == "weighted"


def test_too_few_pixels_or_an_implausible_scale_give_scale_1():
    ones = np.ones(200)
    assert official_depth_scale(ones, ones, ones, 0 * ones).scale == 1.0
    assert official_depth_scale(90 * ones, ones, ones, ones).scale == 1.0
    assert official_depth_scale(ones[:99], ones[:99], ones[:99], ones[:99]).quality == 0.0
    assert official_depth_scale(2 * ones, ones, ones, ones).scale == pytest.approx(2)
    with pytest.raises(ValueError, match="not one of auto, ransac, weighted"):
        official_depth_scale(ones, ones, ones, ones, method="mean")  # pyright: ignore[reportArgumentType]

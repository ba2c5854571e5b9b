"""The official choice of a scale against its goldens (tests/data/da3) and where its rules must bite."""

import numpy as np
import pytest

from dynamic_predictor.driver.chunks import depth_scale
from dynamic_predictor.driver.official_scale import official_depth_scale
from tests.paths import DATA


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "da3" / "maths_streaming.npz")


@pytest.fixture(scope="module")
def maps(golden):
    return [golden[f"align/{name}"] for name in ("dep1", "dep2", "c1", "c2")]


@pytest.mark.parametrize("method", ["ransac", "weighted", "auto"])
def test_scale_and_quality_are_the_official_ones(golden, maps, method):
    found = official_depth_scale(*maps, method=method)
    np.testing.assert_allclose([found.scale, found.quality], golden[f"scale/{method}"], rtol=1e-6)
    assert found.method == ("weighted" if method == "weighted" else "ransac")


def test_our_scale_is_nearer_to_the_truth_than_the_official_quantile(golden, maps):
    confidence = (maps[2] * maps[3]).ravel().astype(np.float64)
    ours = depth_scale(maps[0].ravel().astype(np.float64), maps[1].ravel().astype(np.float64), confidence)
    assert abs(ours - 1.25) < 0.01 * abs(golden["scale/weighted"][0] - 1.25)
    assert ours == pytest.approx(golden["scale/auto"][0], rel=1e-4)


def test_the_consensus_is_the_largest_that_any_scale_has():
    """Every scale of a fine grid explains at most as many pixels as the one found."""
    rng = np.random.default_rng(3)
    moved = rng.uniform(1, 20, 2000)
    reference = 0.8 * moved + rng.normal(0, 0.05, 2000)
    reference[:900] = rng.uniform(1, 20, 900)
    found = official_depth_scale(reference, moved, np.ones(2000), np.ones(2000), method="ransac")
    explained = [(np.abs(reference - scale * moved) <= 0.1).mean() for scale in np.linspace(0.5, 1.5, 4001)]
    assert max(explained) <= found.quality <= max(explained) + 0.005
    assert found.scale == pytest.approx(0.8, abs=0.003)


def test_two_good_estimates_are_averaged_and_the_better_of_two_others_is_taken():
    rng = np.random.default_rng(4)
    moved = rng.uniform(1, 5, 1000)
    reference = 1.3 * moved * (1 + rng.uniform(-0.01, 0.01, 1000))
    peaked, flat = np.full(1000, 0.1), np.ones(1000)
    peaked[7] = 100.0  # nearly all of the weight on one pixel: no entropy
    mean = official_depth_scale(reference, moved, peaked, peaked)
    parts = [official_depth_scale(reference, moved, peaked, peaked, method=name) for name in ("ransac", "weighted")]
    assert mean.method == "average" and mean.scale == pytest.approx((parts[0].scale + parts[1].scale) / 2)
    assert mean.quality == max(part.quality for part in parts)
    assert official_depth_scale(reference, moved, flat, flat).method == "ransac"
    lone = rng.uniform(1, 5, 1000)
    assert official_depth_scale(lone, moved, peaked, peaked).method == "weighted"


def test_without_pixels_or_with_an_absurd_scale_nothing_is_scaled():
    ones = np.ones(200)
    assert official_depth_scale(ones, ones, ones, 0 * ones).scale == 1.0
    assert official_depth_scale(90 * ones, ones, ones, ones).scale == 1.0
    assert official_depth_scale(ones[:99], ones[:99], ones[:99], ones[:99]).quality == 0.0
    assert official_depth_scale(2 * ones, ones, ones, ones).scale == pytest.approx(2)
    with pytest.raises(ValueError, match="not one of auto, ransac, weighted"):
        official_depth_scale(ones, ones, ones, ones, method="mean")  # pyright: ignore[reportArgumentType]

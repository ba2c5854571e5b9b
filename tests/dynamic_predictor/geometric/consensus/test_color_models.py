"""Color models on colors whose likelihoods are known."""

import numpy as np
import pytest

from dynamic_predictor.geometric.consensus.color_models import BINS, color_codes, color_counts, log_odds_table


def test_log_odds_of_two_colors():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, :20] = (200, 40, 40)
    image[:, 20:] = (40, 40, 200)
    codes = color_codes(image)
    left = np.zeros((40, 40), np.float32)
    left[:, :20] = 1.0
    # a quarter of the red pixels and nothing blue is static
    static = np.where(left > 0, 0.25, 1.0).astype(np.float32)
    table = log_odds_table(color_counts(codes, left), color_counts(codes, static))
    red, blue, other = table[codes[0, 0]], table[codes[0, 39]], table[color_codes(np.full((1, 1, 3), 255, np.uint8))]
    # likelihoods of red: 1 among the moving pixels, 100 / 500 among the static ones
    assert red == pytest.approx(np.log(5.0), abs=0.1)
    assert blue < -4.0
    assert other == pytest.approx(0.0, abs=1e-3)


def test_codes_are_bins_of_lab():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    codes = color_codes(ramp)[0]
    assert codes.min() >= 0 and codes.max() < BINS**3
    assert (np.diff(codes // BINS**2) >= 0).all() and len(np.unique(codes // BINS**2)) == BINS

"""Values and back: no code of any depth changes."""

import numpy as np
import pytest

from stillsplat.plate.codes import codes_of, curved, display_curve, values_of


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_code_comes_back(dtype: type) -> None:
    codes = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    assert np.array_equal(codes_of(values_of(codes), np.dtype(dtype)), codes)


def test_light_above_white_comes_back() -> None:
    light = np.array([0.0, 1e-4, 0.003, 0.18, 1.0, 12.0, 5000.0], np.float32)
    np.testing.assert_allclose(codes_of(values_of(light), np.dtype(np.float32)), light, rtol=1e-4, atol=1e-7)


def test_the_curve_from_display_to_values() -> None:
    shown = np.random.default_rng(0).integers(10, 200, (40, 50, 3)).astype(np.uint8)
    values = (np.square(shown / 255.0) * 0.7).astype(np.float32)
    table = display_curve(shown, values)
    assert (np.diff(table, axis=0) >= 0).all()
    np.testing.assert_allclose(curved(shown / 255.0, table), values, atol=1e-3)

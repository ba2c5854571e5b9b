"""The radial term against the lenses of `scene.lens`, and the course of a zoom."""

import numpy as np
import pytest

from dynamic_predictor.geometric.intrinsics import RadialTerm, bends

_TERMS = [RadialTerm("perspective", -0.2), RadialTerm("perspective", 0.1), RadialTerm("equidistant", 0.0)]


@pytest.mark.parametrize("term", [*_TERMS, RadialTerm("equidistant", -0.03)])
def test_distorts_as_the_lens_does(term):
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (200, 2))
    points[0] = 1e-5
    lens = term.lens(2, 2, 1.0)
    expected = lens.project(np.column_stack([points, np.ones(200)])) - 1
    square = (points**2).sum(1)
    np.testing.assert_allclose(points * term.factor(square)[:, None], expected, atol=1e-9)
    np.testing.assert_allclose(term.ideal(expected), points, atol=1e-7)
    _, by_square, by_coefficient = term.expansion(square)
    difference = (term.factor(square + 1e-6) - term.factor(square - 1e-6)) / 2e-6
    np.testing.assert_allclose(by_square, difference, atol=1e-4)
    stronger, weaker = (RadialTerm(term.family, term.coefficient + change) for change in (1e-6, -1e-6))
    difference = (stronger.factor(square) - weaker.factor(square)) / 2e-6
    np.testing.assert_allclose(by_coefficient, difference, atol=1e-6)


def test_points_beyond_the_image_of_the_lens_stay_finite():
    barrel = RadialTerm("perspective", -0.3)
    assert np.isfinite(barrel.ideal(np.array([[3.0, 0.0], [0.0, 0.0]]))).all()
    assert barrel.factor(np.array([100.0]))[0] > 0


def test_a_straight_course_has_no_bends():
    frames = np.array([0, 1, 2, 5, 6, 9])
    np.testing.assert_allclose(bends(frames) @ (0.1 * frames - 2), 0, atol=1e-12)
    assert (bends(np.arange(4)) @ np.array([0, 0, 1, 0.0])).tolist() == [-0.5, 1.0]
    assert bends(np.array([3, 4])).shape == (0, 2)

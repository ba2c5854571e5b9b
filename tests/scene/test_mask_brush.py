"""The brush for motion masks against plain loops and against a shift that is known."""

import numpy as np
import pytest

from scene.mask_brush import carried, erased, grown_along_flow, painted, rectangle_region, stroke_region


def _within(shape: tuple[int, int], points: list[tuple[float, float]], radius: float) -> np.ndarray:
    """Pixels near the line, by 2000 points along each of its parts."""
    found = np.zeros(shape, bool)
    shares = np.linspace(0, 1, 2000)[:, None]
    lines = [np.array(a) + shares * (np.array(b) - np.array(a)) for a, b in zip(points, points[1:], strict=False)]
    line = np.concatenate(lines or [np.array(points)])
    for row in range(shape[0]):
        for column in range(shape[1]):
            away = np.linalg.norm(line - [column + 0.5, row + 0.5], axis=1).min()
            found[row, column] = away <= radius
    return found


@pytest.mark.parametrize(
    "points",
    [[(10.3, 7.1)], [(3.0, 4.0), (20.2, 9.7), (18.0, 19.0)], [(-6.0, 5.0), (4.0, -3.0)], [(5.0, 5.0), (5.0, 5.0)]],
)
def test_a_stroke_is_all_pixels_within_its_radius(points):
    region = stroke_region((20, 30), np.array(points), 3.3)
    expected = _within((20, 30), points, 3.3)
    assert expected.any() and (region != expected).sum() <= 1  # a pixel on the rim


def test_a_stroke_outside_of_the_frame_is_nothing():
    assert not stroke_region((20, 30), np.array([[100.0, 100.0], [200.0, -50.0]]), 5.0).any()


def test_a_rectangle_between_any_two_corners():
    region = rectangle_region((10, 12), np.array([7.0, 6.0]), np.array([2.0, 3.0]))
    expected = np.zeros((10, 12), bool)
    expected[3:6, 2:7] = True
    np.testing.assert_array_equal(region, expected)


def test_painting_and_erasing_change_the_region_alone():
    mask = np.random.default_rng(0).uniform(0.2, 0.8, (20, 30)).astype(np.float32)
    region = stroke_region(mask.shape, np.array([[10.0, 10.0]]), 4.0)
    assert (painted(mask, region)[region] == 1).all() and (erased(mask, region)[region] == 0).all()
    for changed in (painted(mask, region), erased(mask, region)):
        np.testing.assert_array_equal(changed[~region], mask[~region])
        assert changed.dtype == np.float32


def _shift(i: int, j: int) -> np.ndarray:
    """Everything moves by 3 pixels to the right and 1 down per frame."""
    return np.broadcast_to(np.array([3.0, 1.0], np.float32) * (j - i), (30, 40, 2))


def test_a_region_follows_what_it_covers_in_both_directions():
    region = rectangle_region((30, 40), np.array([10.0, 10.0]), np.array([16.0, 14.0]))
    grown = grown_along_flow(region, 2, 6, _shift, reach=2)
    assert list(grown) == [0, 1, 2, 3, 4]
    for index, found in grown.items():
        moved = np.array([3.0, 1.0]) * (index - 2)
        np.testing.assert_array_equal(found, rectangle_region((30, 40), moved + [10, 10], moved + [16, 14]))
    at_the_edge = rectangle_region((30, 40), np.array([3.0, 10.0]), np.array([8.0, 14.0]))
    # two frames before, it was outside of the picture
    assert list(grown_along_flow(at_the_edge, 5, 6, _shift, reach=9)) == [3, 4, 5]


def test_where_the_flows_disagree_the_region_is_lost():
    region = np.ones((30, 40), bool)
    forth = np.array(_shift(0, 1))
    forth[:, :20] = -5.0  # what was there is hidden in the other frame
    found = carried(region, np.array(_shift(1, 0)), forth)
    assert not found[5:25, 5:20].any() and found[5:25, 25:].all()

"""A pole that stands still before the wall is told from a square that passes."""

import numpy as np

from stillsplat.plate.depth_search import stands_still
from tests.stillsplat.plate.wall_clip import _FOCAL, _STEP, COUNT, mover, views


def test_a_near_pole_stands_still_and_the_square_does_not() -> None:
    all_views = views()
    poles = []
    for index, view in enumerate(all_views):
        # at depth 1.5, from 0.9 to 1.02 in the world
        left, right = (int(round((x - _STEP * index) * _FOCAL / 1.5 + 80)) for x in (0.9, 1.02))
        pole = np.zeros(view.hidden.shape, bool)
        pole[:, max(0, left) : max(0, right)] = True
        stripes = 0.5 + 0.4 * np.sign(np.sin(np.arange(96) / 3.0))
        view.image[pole] = np.repeat(stripes[:, None, None], 160, axis=1).repeat(3, axis=2)[pole]
        view.hidden[pole] = True
        poles.append(pole)
    others = [all_views[index] for index in range(0, COUNT, 2) if abs(index - 5) > 1]
    found, depths = stands_still(all_views[5], others, all_views[5].hidden, nearest=1.0)
    pole = poles[5] & ~mover(5)
    assert found[pole].mean() > 0.75  # but for its mixed edges
    assert abs(np.median(depths[found & pole]) - 1.5) < 0.1
    inner = mover(5).copy()
    inner[:34] = inner[56:] = False
    assert found[inner & ~poles[5]].mean() < 0.25


def test_nothing_wanted() -> None:
    all_views = views()
    found, _ = stands_still(all_views[0], all_views[3:6], np.zeros_like(all_views[0].hidden), nearest=1.0)
    assert not found.any()

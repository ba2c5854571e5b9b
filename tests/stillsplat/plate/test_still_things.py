"""A pole that stands still inside of the masks is found in every frame."""

import numpy as np

from scene.progress import ignore_progress
from stillsplat.plate.still_things import StillThings
from tests.stillsplat.plate.wall_clip import COUNT, mover, views


def test_a_pole_in_all_frames_and_nothing_else() -> None:
    all_views = views()
    poles = []
    for index, view in enumerate(all_views):
        # at depth 1.5, from 0.9 to 1.02 in the world
        left, right = (int(round((x - 0.1 * index) * 120.0 / 1.5 + 80)) for x in (0.9, 1.02))
        pole = np.zeros(view.hidden.shape, bool)
        pole[:, max(0, left) : max(0, right)] = True
        stripes = 0.5 + 0.4 * np.sign(np.sin(np.arange(96) / 3.0))
        view.image[pole] = np.repeat(stripes[:, None, None], 160, axis=1).repeat(3, axis=2)[pole]
        view.hidden[pole] = True
        poles.append(pole)
    things = StillThings(all_views, 1.0, ignore_progress)
    for index in (1, 4, 6):
        found = things.seen_from(index)
        assert found[poles[index] & ~mover(index)].mean() > 0.6
        assert found[~poles[index]].mean() < 0.02


def test_nothing_stands_still_in_a_mask() -> None:
    assert len(views()) == COUNT
    things = StillThings(views(), 1.0, ignore_progress)
    assert not things.seen_from(6).any()

"""Shadows of what moves are found, and nothing else is."""

import numpy as np

from scene.progress import ignore_progress
from stillsplat.plate.passing_shadows import passing_shadows
from tests.stillsplat.plate.wall_clip import COUNT, HEIGHT, WIDTH, mover, views


def shares(maps: list[np.ndarray], index: int) -> tuple[float, float]:
    """The share of the shadow that was found, and that of the rest that was taken for one."""
    rows = (np.arange(HEIGHT) + 0.5) * maps[index].shape[0] / HEIGHT
    columns = (np.arange(WIDTH) + 0.5) * maps[index].shape[1] / WIDTH
    found = maps[index][rows.astype(int)][:, columns.astype(int)]
    square = mover(index)
    shadow = np.roll(square, 16, axis=0) & ~square
    return float(found[shadow].mean()), float(found[~shadow & ~square].mean())


def test_a_shadow_that_passes() -> None:
    maps = passing_shadows(views(shadow=0.6), range(COUNT), ignore_progress)
    for index in (3, 6, 9):
        found, taken = shares(maps, index)
        assert found > 0.7 and taken < 0.03


def test_nothing_where_nothing_passes() -> None:
    assert not any(found.any() for found in passing_shadows(views(), range(COUNT), ignore_progress))


def test_a_darker_frame_is_no_shadow() -> None:
    all_views = views()
    all_views[5].image[:] *= 0.7
    assert not any(found.any() for found in passing_shadows(all_views, range(COUNT), ignore_progress))


def test_a_single_frame() -> None:
    assert not passing_shadows(views()[:1], [0], ignore_progress)[0].any()

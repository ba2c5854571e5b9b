"""Mattes get the shape of what moves, take its shadow in, and leave alone what is as it should be."""

import cv2
import numpy as np

from stillsplat.plate.background import BackgroundFinder
from stillsplat.plate.mattes import matte
from tests.stillsplat.plate.wall_clip import COUNT, mover, views

ALL = np.ones((96, 160), bool)
NONE = ~ALL


def near(mask: np.ndarray, pixels: int = 5) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def test_halo_and_hole_of_a_mask_are_mended() -> None:
    all_views = views()
    finder = BackgroundFinder(all_views, range(COUNT))
    blob = near(mover(6), 10)
    all_views[6].hidden[:] = near(blob, 2)
    found = matte(all_views[6], finder.background(6), blob & ~near(NONE), ALL, NONE)
    assert (found[mover(6)] > 0.95).all()
    half = mover(6).copy()
    half[:, :70] = False  # the mask has a part of the square
    found = matte(all_views[6], finder.background(6), half, ALL, NONE)
    assert (found[mover(6)] > 0.95).all() and (found[~near(mover(6), 7) & ~near(blob, 4)] == 0).all()


def test_a_square_that_no_mask_has() -> None:
    all_views = views(masked=False)
    found = matte(all_views[6], BackgroundFinder(all_views, range(COUNT)).background(6), NONE, ALL, NONE)
    assert (found[mover(6)] > 0.9).mean() > 0.97 and (found[~near(mover(6), 6)] == 0).all()


def test_a_shadow_comes_in() -> None:
    all_views = views(shadow=0.8)
    found = matte(all_views[6], BackgroundFinder(all_views, range(COUNT)).background(6), mover(6), ALL, NONE)
    shadow = np.roll(mover(6), 16, axis=0) & ~mover(6)
    assert (found[shadow] > 0.5).mean() > 0.9


def test_what_stands_still_or_was_not_observed_stays() -> None:
    all_views = views()
    background = BackgroundFinder(all_views, range(COUNT)).background(6)
    still, observed = NONE.copy(), ALL.copy()
    still[:50], observed[:, :80] = True, False
    found = matte(all_views[6], background, mover(6), observed, still)
    assert (found[:45] == 0).all() and (found[:, :80] == 0).all() and found[55:58, 90].min() > 0.9

"""A shadow lets the texture of the background through, darker and in the same color; an object does not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stillsplat.plate.background import Background, BackgroundFinder
from stillsplat.plate.mattes import matte
from stillsplat.plate.shadows import shadow_share
from stillsplat.plate.voting import Vote
from stillsplat.plate.warping import StaticView
from tests.stillsplat.plate.wall_clip import COUNT, HEIGHT, WIDTH, clean, mover, views

ALL = np.ones((HEIGHT, WIDTH), bool)


def _known(image: np.ndarray, seen: int = 8) -> tuple[StaticView, Background]:
    """A frame and its exact background."""
    wall, zeros = clean(6), np.zeros((HEIGHT, WIDTH), np.float32)
    view = replace(views()[6], image=image, hidden=~ALL)
    return view, Background([], Vote(wall, zeros + 1, zeros), np.full((HEIGHT, WIDTH), seen), wall)


def _shadowed(factor: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame with the square and its shadow below it, the shadow, and the matte of both."""
    image = clean(6)
    under = np.roll(mover(6), 24, axis=0) & ~mover(6)
    image[under] *= np.asarray(factor, np.float32)
    image[mover(6)] = (0.9, 0.2, 0.1)
    replaced = cv2.dilate((under | mover(6)).astype(np.float32), np.ones((5, 5), np.uint8))
    return image, under, replaced


def test_shadow_and_object_are_told_apart_on_a_clip() -> None:
    all_views = views(shadow=0.6)
    background = BackgroundFinder(all_views, range(COUNT)).background(6)
    replaced = matte(all_views[6], background, mover(6), ALL, ~ALL)
    found = shadow_share(all_views[6], background, replaced)
    shadow = np.roll(mover(6), 16, axis=0) & ~mover(6)
    inside = cv2.erode(shadow.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (found[inside] > 0.5).mean() > 0.9 and (found[mover(6)] > 0.5).mean() < 0.05
    assert (found <= replaced).all() and found.dtype == np.float32


@pytest.mark.parametrize("factor", [0.35, 0.6, 0.8, (0.5, 0.55, 0.6)])
def test_shadows_of_any_depth_and_of_the_sky(factor) -> None:
    image, under, replaced = _shadowed(factor)
    found = shadow_share(*_known(image), replaced) > 0.5
    assert (found & under).sum() > 0.8 * under.sum() and (found & mover(6)).sum() < 0.05 * mover(6).sum()
    # what nobody has seen cannot be told
    assert not shadow_share(*_known(image, seen=0), replaced).any()
    assert not shadow_share(*_known(image), np.zeros_like(replaced)).any()


@pytest.mark.parametrize("factor", [(0.9, 0.4, 0.4), 1.2, 0.95])
def test_colored_light_and_what_is_hardly_darker_are_none(factor) -> None:
    image, _, replaced = _shadowed(factor)
    assert not shadow_share(*_known(image), replaced).any()


def test_a_dark_object_is_none() -> None:
    image, under, replaced = _shadowed(1.0)
    image[under] = 0.25
    assert (shadow_share(*_known(image), replaced)[under] > 0.5).mean() < 0.05
    texture = np.roll(clean(6), 40, axis=1)
    image[under] = 0.5 * texture[under]  # as dark as a shadow, with another texture
    assert (shadow_share(*_known(image), replaced)[under] > 0.5).mean() < 0.1


def test_a_shadow_belongs_to_something() -> None:
    image = clean(6)
    image[30:70, 20:60] *= 0.6
    replaced = np.zeros((HEIGHT, WIDTH), np.float32)
    replaced[28:72, 18:62] = 1.0
    assert not shadow_share(*_known(image), replaced).any()

"""Frames at full size: pixels outside of the matte are the input's own, inside is the background."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from gaussian.metrics import psnr_static
from scene.images import write_png
from stillsplat.plate.background import Background, BackgroundFinder
from stillsplat.plate.compositing import Compositor, Layers
from stillsplat.plate.frame_store import FrameStore
from stillsplat.plate.mattes import matte
from stillsplat.plate.voting import Vote
from tests.stillsplat.plate.wall_clip import COUNT, HEIGHT, WIDTH, clean, frame, mover, views

SCALE = 3


def large(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (WIDTH * SCALE, HEIGHT * SCALE), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    """The clip at three times the size of the scene."""
    for index in range(COUNT):
        write_png(tmp_path / f"{index:05d}.png", np.rint(np.clip(large(frame(index)), 0, 1) * 255).astype(np.uint8))
    found = FrameStore(tmp_path, range(COUNT), tmp_path)
    list(found.originals())
    return found


def layers_of(index: int, filling: np.ndarray | None) -> Layers:
    all_views = views()
    view = all_views[index]
    background = BackgroundFinder(all_views, range(COUNT)).background(index)
    replaced = matte(view, background, mover(index), np.ones_like(view.hidden), np.zeros_like(view.hidden))
    return Layers(replaced, background, view.render, view.ground, np.zeros_like(view.hidden), filling)


def test_own_pixels_are_untouched_and_the_rest_is_the_wall_in_full_detail(store: FrameStore) -> None:
    layers = layers_of(6, views()[6].render)
    codes = store.region(6, slice(0, HEIGHT * SCALE), slice(0, WIDTH * SCALE))
    done = Compositor(store, (WIDTH, HEIGHT), np.zeros(3)).composite(6, codes, layers)
    assert done.codes.dtype == np.uint8 and done.codes.shape == (HEIGHT * SCALE, WIDTH * SCALE, 3)
    outside = done.matte == 0
    assert 0.7 < outside.mean() < 0.95 and np.array_equal(done.codes[outside], codes[outside])
    truth = large(clean(6))
    inside = cv2.resize(mover(6).astype(np.uint8), truth.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    ours, rendered = (
        psnr_static(image, truth, inside) for image in (done.codes.astype(np.float32) / 255, large(views()[6].render))
    )
    assert ours > 32 and ours > rendered + 6


def test_what_nobody_saw_is_filled_or_transparent(store: FrameStore) -> None:
    view = views()[6]
    empty = np.zeros((HEIGHT, WIDTH), np.float32)
    nothing = Background([], Vote(view.render, empty, empty), empty.astype(int), view.render)
    unseen = np.zeros((HEIGHT, WIDTH), bool)
    unseen[20:40, 30:60] = True
    codes = store.region(6, slice(0, HEIGHT * SCALE), slice(0, WIDTH * SCALE))
    for filling in (np.full((HEIGHT, WIDTH, 3), 0.25, np.float32), None):
        layers = Layers(unseen.astype(np.float32), nothing, view.render, 1 - unseen.astype(np.float32), unseen, filling)
        done = Compositor(store, (WIDTH, HEIGHT), np.zeros(3)).composite(6, codes, layers)
        assert done.invented[62:118, 92:178].all() and not done.invented[:58].any()
        assert done.transparent == (filling is None)
        if filling is not None:
            assert np.abs(done.codes[63:117, 93:177].astype(int) - 64).max() <= 1


def test_grain_is_the_same_again_and_as_strong_as_the_clips(store: FrameStore) -> None:
    layers = layers_of(6, None)
    codes = store.region(6, slice(0, HEIGHT * SCALE), slice(0, WIDTH * SCALE))
    plain = Compositor(store, (WIDTH, HEIGHT), np.zeros(3)).composite(6, codes, layers).codes.astype(int)
    first, second = (
        Compositor(store, (WIDTH, HEIGHT), np.full(3, 0.03)).composite(6, codes, layers).codes for _ in range(2)
    )
    assert np.array_equal(first, second)
    full = layers.matte[45, 70] == 1
    deviation = (first.astype(int) - plain)[100:170, 200:270].std() / 255
    assert full and 0.012 < deviation < 0.03

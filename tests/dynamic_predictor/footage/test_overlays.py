from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dynamic_predictor.footage.overlays import Overlays, find_overlays
from scene.frames import MemoryFrames
from tests.dynamic_predictor.footage.made_clips import HEIGHT, WIDTH, pan


def overlays(clip: np.ndarray) -> Overlays | None:
    return find_overlays(MemoryFrames(clip), range(len(clip)))


def drawn(draw: Callable[[np.ndarray, int], object], count: int = 20) -> np.ndarray:
    clip = pan(1, count, step=5.0)
    for index, image in enumerate(clip):
        draw(image, index)
    return clip


def agreement(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


def test_a_letterbox_is_found_to_the_row():
    def bars(image, index):
        image[:14] = image[-14:] = 0

    found = overlays(drawn(bars))
    assert found is not None and not found.inside.any()
    true = np.zeros((HEIGHT, WIDTH), bool)
    true[:14] = true[-14:] = True
    assert found.borders[true].all() and agreement(found.borders, true) > 0.8
    rows, columns = found.content()
    assert columns == slice(0, WIDTH) and abs(rows.start - 14) <= 3 and abs(rows.stop - HEIGHT + 14) <= 3


@pytest.mark.parametrize("color", [0, 255, 90])
def test_a_pillarbox_of_any_color_is_found(color):
    def bars(image, index):
        image[:, :20] = image[:, -20:] = color

    found = overlays(drawn(bars))
    assert found is not None and abs(found.content()[1].start - 20) <= 3


def test_a_vignette_is_found_in_its_shape():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    outside = np.hypot((columns - WIDTH / 2) / 90, (rows - HEIGHT / 2) / 56) > 1

    def mask(image, index):
        image[outside] = 0

    found = overlays(drawn(mask))
    assert found is not None and agreement(found.borders, outside) > 0.6
    assert not found.borders[HEIGHT // 2, WIDTH // 2]


def test_a_clock_in_a_box_is_found_with_its_digits():
    def clock(image, index):
        cv2.rectangle(image, (90, 60), (140, 80), (20, 20, 60), -1)
        cv2.putText(image, f"12:{index:02d}", (94, 76), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)

    found = overlays(drawn(clock))
    assert found is not None and found.inside[62:79, 92:139].mean() > 0.95
    assert found.covered.mean() < 2.5 * (51 * 21) / (HEIGHT * WIDTH)


def test_letters_without_a_box_are_found():
    def letters(image, index):
        cv2.putText(image, "NEWS", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)

    text = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    letters(text, 0)
    found = overlays(drawn(letters))
    assert found is not None and found.inside[text[..., 0] > 0].mean() > 0.8
    assert found.inside.mean() < 0.2


def test_a_moving_picture_and_its_sky_are_no_overlay():
    assert overlays(pan(1, 20, step=5.0)) is None

    clip = pan(1, 20, step=5.0)
    skyline = (30 + 8 * np.sin(np.arange(4 * WIDTH) / 17)).astype(int)
    for index, image in enumerate(clip):
        for column in range(WIDTH):
            image[: skyline[column + 5 * index], column] = 250
    assert overlays(clip) is None


def test_a_tripod_loses_nothing():
    still = np.repeat(pan(1, 1), 20, axis=0)
    assert overlays(still) is None
    for index, image in enumerate(still):
        image[40:60, 10 + 5 * index : 30 + 5 * index] = (200, 40, 40)
    assert overlays(still) is None
    noisy = still + np.random.default_rng(0).normal(0, 2, still.shape)
    assert overlays(noisy.clip(0, 255).astype(np.uint8)) is None


def test_few_frames_say_nothing():
    clip = pan(1, 5, step=5.0)
    clip[:, :14] = 0
    assert overlays(clip) is None

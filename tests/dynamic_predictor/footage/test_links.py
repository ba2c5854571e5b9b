import numpy as np
import pytest

from dynamic_predictor.footage.links import GrayThumbnails, Link, Links, contrast
from scene.frames import MemoryFrames
from tests.dynamic_predictor.footage.made_clips import pan


def link(first: np.ndarray, second: np.ndarray) -> Link:
    return Links(GrayThumbnails(MemoryFrames(np.stack([first, second]))))(0, 1)


@pytest.mark.parametrize("step", [0, 3, 20, 60])
def test_the_same_place_is_linked_also_after_large_shifts(step):
    one, two = pan(1, 1)[0], pan(1, 1, start=step)[0]
    found = link(one, two)
    assert found.linked and (found.correlation > 0.9 or step > 30)


def test_other_places_are_not_linked():
    for seed in range(2, 8):
        assert not link(pan(1, 1)[0], pan(seed, 1)[0]).linked


def test_the_gain_is_that_of_the_contrast():
    one, two = pan(1, 1)[0], pan(1, 1, start=12)[0]
    assert link(one, (two * 0.5).astype(np.uint8)).gain == pytest.approx(0.5, abs=0.05)


def test_the_motion_is_a_share_of_the_long_side():
    images = GrayThumbnails(MemoryFrames(np.stack([pan(1, 1)[0], pan(1, 1, start=8)[0]])))
    assert Links(images).motion(0, 1) == pytest.approx(8 / 160, rel=0.1)


def test_contrast_is_that_of_local_detail():
    flat = np.full((60, 80), 90, np.uint8)
    assert contrast(flat) == 0
    slow = np.tile(np.linspace(0, 255, 80), (60, 1)).astype(np.uint8)
    assert contrast(slow) < 0.3 * contrast(pan(1, 1)[0][..., 0])

"""The truth of another clip, or of other frames of the same clip, is refused; another brightness or size is not."""

import numpy as np
import pytest

from scene.errors import InputError
from scene.images import resize_image
from stillsplat.scores.same_clip import check_same_clip
from tests.stillsplat.stand_ins import clip_images

CLIP = clip_images(12, 192, 108)


def _check(run: list[np.ndarray], truth: list[np.ndarray], first: int = 0) -> None:
    positions = [first + index for index in range(len(run))]
    check_same_clip(run.__getitem__, truth.__getitem__, positions, len(truth), "TRUTH")


def test_the_same_frames_at_another_brightness_and_size() -> None:
    random = np.random.default_rng(1)
    _check(CLIP, CLIP)
    dark = [np.clip(image * 0.22 + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8) for image in CLIP]
    _check(dark, CLIP)
    _check([resize_image(image, 96, 54) for image in CLIP], CLIP)
    _check(CLIP[3:9], CLIP, first=3)
    black = [np.zeros_like(image) for image in CLIP]
    _check(black, CLIP)  # says nothing
    _check([*black[:3], *CLIP[3:]], CLIP)


def test_another_clip() -> None:
    random = np.random.default_rng(2)
    other = [resize_image(random.integers(0, 256, (54, 96, 3)).astype(np.uint8), 192, 108) for _ in CLIP]
    with pytest.raises(InputError, match="The truth in TRUTH is of another clip"):
        _check(other, CLIP)


def test_the_same_clip_cut_otherwise() -> None:
    with pytest.raises(InputError, match="Frame 0 of the run's input is frame 3 of the truth in TRUTH"):
        _check(CLIP[3:9], CLIP)

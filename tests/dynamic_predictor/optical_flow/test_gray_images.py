"""The cache of gray images."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.optical_flow.gray_images import GrayImages
from scene.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 8, 3)).astype(np.uint8)


def test_gray_images_are_opencvs_and_stay_cached() -> None:
    loaded = []
    images = GrayImages(lambda index: loaded.append(index) or IMAGES[index])
    for _ in range(2):
        for index in range(20):
            np.testing.assert_array_equal(images.gray(index), cv2.cvtColor(IMAGES[index], cv2.COLOR_RGB2GRAY))
    assert loaded == list(range(20))
    np.testing.assert_array_equal(images[3], IMAGES[3])


def test_the_cache_forgets_the_image_that_was_used_least_recently() -> None:
    loaded = []
    images = GrayImages(lambda index: loaded.append(index) or IMAGES[index], cache_bytes=1)
    for index in [*range(16), 0, 16, 0, 1]:  # 16 images fit; image 0 is used again before image 16 displaces image 1
        images.gray(index)
    assert loaded == [*range(17), 1]


def test_images_without_three_channels_are_refused() -> None:
    with pytest.raises(InputError, match="RGB"):
        GrayImages(lambda index: IMAGES[index, ..., 0]).gray(0)

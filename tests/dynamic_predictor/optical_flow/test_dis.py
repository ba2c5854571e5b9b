"""OpenCV's DIS on a shifted image."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.optical_flow.dis import DISFlow
from scene.errors import InputError


def wall(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (140, 180, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (9, 9), 3)


def test_dis_finds_a_shift() -> None:
    first, second = wall()[20:120, 20:160], wall()[17:117, 25:165]
    estimate = DISFlow().estimate(first, second)
    assert estimate.uncertainty is None and estimate.displacement.dtype == np.float32
    inner = estimate.displacement[20:-20, 20:-20].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inner, axis=0), (-5, 3), atol=0.1)


def test_float_images_give_the_flow_of_8_bit_images() -> None:
    first, second = wall()[20:120, 20:160], wall()[17:117, 25:165]
    from_floats = DISFlow().estimate(first.astype(np.float32) / 255, second.astype(np.float32) / 255)
    np.testing.assert_array_equal(from_floats.displacement, DISFlow().estimate(first, second).displacement)


def test_each_image_is_loaded_once() -> None:
    class LoadedImages:
        def __init__(self) -> None:
            self.loaded: list[int] = []

        def __getitem__(self, index: int, /) -> np.ndarray:
            self.loaded.append(index)
            return wall(index)

    images = LoadedImages()
    between = DISFlow().between(images)
    forward, backward = between(0, 2), between(2, 0)
    assert images.loaded == [0, 2]
    np.testing.assert_array_equal(forward.displacement, DISFlow().estimate(wall(0), wall(2)).displacement)
    np.testing.assert_array_equal(backward.displacement, DISFlow().estimate(wall(2), wall(0)).displacement)


def test_images_of_two_sizes_and_gray_images_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        DISFlow().estimate(wall(), wall()[:, :-1])
    with pytest.raises(InputError, match="RGB"):
        DISFlow().estimate(wall()[..., 0], wall()[..., 0])

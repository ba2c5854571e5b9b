"""RAFT and SEA-RAFT on images of any size, with cached features."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.optical_flow.network_flow import NetworkFlow
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from scene.errors import InputError
from tests.dynamic_predictor.optical_flow.made_up_flow import rgb_image


@pytest.mark.parametrize(("height", "width"), [(64, 64), (61, 97), (200, 70), (8, 120), (1, 1)])
def test_any_size(sea_raft: SeaRAFT, height: int, width: int) -> None:
    flow = NetworkFlow("sea-raft", sea_raft, iterations=1)
    estimate = flow.estimate(rgb_image("a", height, width), rgb_image("b", height, width))
    assert estimate.displacement.shape == (height, width, 2) and estimate.displacement.dtype == np.float32
    assert estimate.uncertainty is not None and estimate.uncertainty.shape == (height, width)
    assert (estimate.uncertainty > 0).all()


def test_padding_is_taken_off_again(raft: RAFT) -> None:
    """A padded image gives the flow of the image that is padded by hand, cropped."""
    first, second = rgb_image("a", 70, 83), rgb_image("b", 70, 83)
    padded = [cv2.copyMakeBorder(side, 1, 1, 2, 3, cv2.BORDER_REPLICATE) for side in (first, second)]
    flow = NetworkFlow("raft", raft, iterations=1)
    expected = flow.estimate(*padded).displacement[1:-1, 2:-3]
    np.testing.assert_allclose(flow.estimate(first, second).displacement, expected, atol=1e-5)


def test_eight_bit_images_are_the_same(raft: RAFT) -> None:
    first, second = (np.rint(rgb_image(name) * 255).astype(np.uint8) for name in "ab")
    flow = NetworkFlow("raft", raft, iterations=1)
    from_bytes = flow.estimate(first, second).displacement
    from_floats = flow.estimate(first.astype(np.float32) / 255, second.astype(np.float32) / 255).displacement
    np.testing.assert_array_equal(from_bytes, from_floats)


def test_each_image_is_loaded_and_encoded_once(raft: RAFT, monkeypatch: pytest.MonkeyPatch) -> None:
    class LoadedImages:
        def __init__(self) -> None:
            self.loaded: list[int] = []

        def __getitem__(self, index: int, /) -> np.ndarray:
            self.loaded.append(index)
            return rgb_image("abc"[index])

    pairs = [(0, 1), (1, 0), (0, 2), (2, 1)]
    flow = NetworkFlow("raft", raft, iterations=1)
    expected = [flow.estimate(rgb_image("abc"[i]), rgb_image("abc"[j])).displacement for i, j in pairs]
    encoded = []
    encode = RAFT.encode
    monkeypatch.setattr(RAFT, "encode", lambda self, images: encoded.append(1) or encode(self, images))
    images = LoadedImages()
    between = flow.between(images)
    found = [between(i, j) for i, j in pairs]
    assert images.loaded == [0, 1, 2] and len(encoded) == 3
    for estimate, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(estimate.displacement, reference, rtol=1e-3, atol=1e-3)


def test_images_of_two_sizes_and_gray_images_are_refused(raft: RAFT) -> None:
    flow = NetworkFlow("raft", raft, iterations=1)
    with pytest.raises(InputError, match="one size"):
        flow.estimate(rgb_image("a", 80, 100), rgb_image("b", 80, 120))
    with pytest.raises(InputError, match="RGB"):
        flow.estimate(np.zeros((80, 100), np.float32), np.zeros((80, 100), np.float32))

"""Images of a lens brought to a pinhole camera."""

import cv2
import numpy as np
import pytest

from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.lens import Lens
from scene.undistortion import UndistortedFrames, Undistortion, pinhole_of, undistorted_masks

_SIZE = {"width": 96, "height": 64, "fx": 90.0, "fy": 90.0, "cx": 48.0, "cy": 32.0}
_FISHEYE = Lens("equidistant", **_SIZE)


def _smooth_image(pixels: np.ndarray) -> np.ndarray:
    """A smooth color for every pixel coordinate (..., 2) of the pinhole camera."""
    x, y = pixels[..., 0] / 96, pixels[..., 1] / 64
    return np.stack([np.sin(5 * x) * np.cos(3 * y), np.cos(4 * x + 2 * y), x + y], -1) * 60 + 120


def test_the_middle_keeps_its_scale_and_the_image_is_filled() -> None:
    assert pinhole_of(_FISHEYE).fx == 90.0
    pincushion = Lens("perspective", **_SIZE, radial=(0.2,))
    camera = pinhole_of(pincushion)
    assert 90.0 < camera.fx < 110.0
    undistortion = Undistortion(pincushion, camera)
    x, y = undistortion.maps_to_lens
    assert x.min() >= -0.5 and y.min() >= -0.5 and x.max() <= 95.5 and y.max() <= 63.5
    # the tighter of the two sides is used to the last pixel
    assert min(x.min() + 0.5, y.min() + 0.5) < 0.7


def test_an_image_of_the_lens_becomes_that_of_the_pinhole_camera() -> None:
    undistortion = Undistortion.of(_FISHEYE)
    grid = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(64) + 0.5), -1)
    seen = _smooth_image(undistortion.pinhole_pixels(grid)).astype(np.float32)
    found = undistortion.image(seen)
    expected = _smooth_image(grid)
    assert np.abs(found - expected)[2:-2, 2:-2].max() < 0.4
    reference = cv2.fisheye.undistortImage(
        seen, np.array([[90.0, 0, 47.5], [0, 90.0, 31.5], [0, 0, 1]]), np.zeros(4),
        Knew=np.array([[90.0, 0, 47.5], [0, 90.0, 31.5], [0, 0, 1]]),
    )  # fmt: skip
    assert np.abs(found - reference)[2:-2, 2:-2].max() < 0.5


def test_masks_come_back_to_the_pixels_of_the_lens() -> None:
    undistortion = Undistortion.of(_FISHEYE)
    mask = np.zeros((64, 96), np.float32)
    mask[20:40, 30:60] = 1
    pinhole = undistortion.mask(mask)
    assert pinhole.sum() > mask.sum()
    back = undistortion.distorted_mask((pinhole > 0.5).astype(np.float32), outside=0.5)
    assert np.mean((back > 0.6) != (mask > 0.5)) < 0.01
    # the corners of the lens lie outside the pinhole image
    assert back[0, 0] == 0.5
    pixels = np.array([[10.0, 20.0], [48.0, 32.0]])
    np.testing.assert_allclose(undistortion.lens_pixels(undistortion.pinhole_pixels(pixels)), pixels, atol=1e-6)


def test_frames_and_masks_are_undistorted_when_they_are_read() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)
    undistortion = Undistortion.of(_FISHEYE)
    frames = UndistortedFrames(MemoryFrames(images), undistortion)
    assert (len(frames), frames.width, frames.height, list(frames.names)) == (2, 96, 64, ["00000.png", "00001.png"])
    np.testing.assert_array_equal(frames.rgb8(-1), undistortion.image(images[1]))
    np.testing.assert_allclose(frames[0] * 255, frames.rgb8(0))
    with pytest.raises(IndexError):
        frames.rgb8(2)
    masks = undistorted_masks(np.ones((2, 64, 96), np.float32), undistortion)
    np.testing.assert_allclose(masks[1], 1.0)


def test_refuses_a_lens_without_a_pinhole_image() -> None:
    with pytest.raises(InputError, match="coefficients"):
        pinhole_of(Lens("perspective", **_SIZE, radial=(5000.0,)))

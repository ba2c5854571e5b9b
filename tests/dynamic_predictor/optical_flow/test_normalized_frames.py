"""Contrast and noise of a clip, against values that are known because the test makes them."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.optical_flow.flow_field import FlowField
from dynamic_predictor.optical_flow.normalized_frames import clip_contrast, noise_level, normalized
from scene.frames import ImageFolderFrames, MemoryFrames
from tests.paths import ROOT


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    frames = ImageFolderFrames(sorted((ROOT / "data" / "sample" / "rgb").iterdir())[:4])
    return np.stack([frames.rgb8(index) for index in range(4)])


def test_ordinary_frames_are_not_touched(sample):
    frames = MemoryFrames(sample)
    assert normalized(frames) is frames
    assert FlowField(frames).images is frames


@pytest.mark.parametrize(("gain", "offset"), [(0.22, 0), (0.1, 0), (0.3, 150)], ids=["dark", "darker", "hazy"])
def test_contrast_is_stretched_to_that_of_ordinary_clips(sample, gain, offset):
    frames = MemoryFrames(np.rint(sample * gain + offset).astype(np.uint8))
    stretched = normalized(frames)
    low, high = np.percentile(cv2.cvtColor(stretched.rgb8(1), cv2.COLOR_RGB2GRAY), (5, 92))
    assert high - low == pytest.approx(140, abs=15)
    assert stretched[1].max() <= 1.0 and stretched[1].shape == frames[1].shape


def test_flow_of_a_dark_clip_is_that_of_the_clip_in_the_light(sample):
    light = FlowField(MemoryFrames(sample))
    dark = FlowField(MemoryFrames(np.rint(sample * 0.22).astype(np.uint8)))
    error = np.linalg.norm(dark.displacement(0, 1) - light.displacement(0, 1), axis=-1)
    assert np.median(error) < 0.1 and np.percentile(error, 90) < 1.0


def test_lamps_do_not_hide_that_a_clip_is_dark(sample):
    dark = np.rint(sample * 0.2).astype(np.uint8)
    dark[:, 20:60, 100:160] = 255
    assert clip_contrast(MemoryFrames(dark)).gain > 3.0
    lamp = normalized(MemoryFrames(dark)).rgb8(0)[40, 130]
    assert (lamp > 230).all()


@pytest.mark.parametrize("deviation", [3.0, 12.0])
def test_noise_is_measured_beside_texture(sample, deviation):
    rng = np.random.default_rng(1)
    image = np.full((272, 480), 110.0)
    image[:, 200:] = sample[0, :, 200:].mean(-1)
    noisy = np.clip(image + rng.normal(0, deviation, image.shape), 0, 255)
    assert noise_level(noisy) == pytest.approx(deviation, rel=0.2)


def test_heavy_noise_is_smoothed(sample):
    rng = np.random.default_rng(2)
    noisy = np.clip(sample + rng.normal(0, 30, sample.shape), 0, 255).astype(np.uint8)
    smooth = normalized(MemoryFrames(noisy))
    before, after = (np.abs(f.rgb8(0).astype(float) - sample[0]).mean() for f in (MemoryFrames(noisy), smooth))
    assert after < 0.7 * before


def test_a_black_clip_stays_black():
    frames = MemoryFrames(np.zeros((3, 64, 96, 3), np.uint8))
    assert normalized(frames) is frames

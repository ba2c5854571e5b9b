"""Residuals in units of what errors explain."""

import cv2
import numpy as np

from stillsplat.second_pass.residual import noise_of, residual_score, shadow_likeness


def _texture(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).random((16, 32, 3)).astype(np.float32)
    return cv2.resize(values, (256, 128), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def test_a_misaligned_edge_is_explained_and_another_thing_is_not():
    render = _texture(1)
    image = np.roll(render, 1, axis=1)
    image[40:80, 100:140] = (1.0, 0.0, 1.0)
    score = residual_score(image, render, 0.04)
    inside = np.zeros(score.shape, bool)
    inside[44:76, 104:136] = True
    outside = np.ones(score.shape, bool)
    outside[30:90, 90:150] = outside[:, :4] = False
    assert np.quantile(score[outside], 0.98) < 2.3 < np.quantile(score[inside], 0.1)


def test_noise_raises_what_is_explained():
    clean = np.full((128, 256, 3), 0.5, np.float32)
    noisy = clean + np.random.default_rng(0).normal(0, 0.04, clean.shape).astype(np.float32)
    assert noise_of([clean]) == 0.04
    assert noise_of([noisy]) > 0.08
    assert np.quantile(residual_score(noisy, clean, noise_of([noisy])), 0.999) < 2.3


def test_a_shadow_is_told_from_a_dark_thing_and_from_a_black_one():
    render = 0.3 + 0.6 * _texture(2)
    image = render.copy()
    image[20:50, 20:60] *= 0.6  # a shadow
    image[20:50, 100:140] = (0.5, 0.2, 0.2)  # another thing, of one color
    image[20:50, 180:220] *= 0.1  # too dark for a shadow
    likeness = shadow_likeness(image, render, 0.04)
    assert likeness[25:45, 25:55].min() > 0.9
    assert likeness[25:45, 105:135].mean() < 0.2
    assert likeness[25:45, 185:215].max() == 0.0
    assert likeness[70:, :].max() == 0.0

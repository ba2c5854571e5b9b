"""Static weights from synthetic residuals: moving things and shadows that the mask lacks, and wrong masks."""

import numpy as np
import torch

from gaussian.staticness import StaticWeights
from scene.maps import StoredMaps

HEIGHT, WIDTH = 72, 128


def observations(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image with texture, and the residual of a good rendering: noise, stronger where the contrast is high."""
    generator = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    image[:, ::8] = 0.8
    residual = np.abs(generator.normal(0, 0.015, (HEIGHT, WIDTH))).astype(np.float32)
    residual[:, ::8] += 0.04
    return image, residual


def learned(
    residual: np.ndarray, image: np.ndarray, mask: np.ndarray | None = None, observations: int = 6
) -> np.ndarray:
    masks = None
    if mask is not None:
        masks = StoredMaps(1, HEIGHT, WIDTH)
        masks[0] = mask
    weights = StaticWeights(masks, 1, HEIGHT, WIDTH)
    for _ in range(observations):
        weights.observe(0, residual, image)
    return weights[0]


def test_starts_at_the_mask() -> None:
    masks = StoredMaps(1, HEIGHT, WIDTH)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[10:30, 10:30] = 1
    masks[0] = mask
    np.testing.assert_array_equal(StaticWeights(masks, 1, HEIGHT, WIDTH)[0], 1 - mask)


def test_good_rendering_keeps_everything() -> None:
    image, residual = observations()
    assert (learned(residual, image) > 0.99).mean() > 0.999


def test_finds_a_moving_thing_that_the_mask_lacks() -> None:
    image, residual = observations()
    residual[20:50, 40:70] = 0.35
    weight = learned(residual, image)
    assert weight[23:47, 43:67].max() < 0.1
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[14:56, 34:76] = False
    assert weight[outside].min() > 0.9


def test_finds_a_soft_shadow() -> None:
    image, residual = observations()
    residual[44:58, 30:90] += 0.13
    weight = learned(residual, image)
    assert weight[47:55, 34:86].mean() < 0.2
    assert weight[:34].min() > 0.9


def test_masked_pixels_with_high_residuals_stay_masked() -> None:
    image, residual = observations()
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[10:40, 10:40] = 1
    residual[10:40, 10:40] = 0.3
    assert learned(residual, image, mask)[12:38, 12:38].max() == 0


def test_a_poor_rendering_does_not_turn_everything_dynamic() -> None:
    image, residual = observations()
    residual += np.random.default_rng(1).random((HEIGHT, WIDTH)).astype(np.float32) * 0.5
    assert learned(residual, image).mean() > 0.85


def test_checkpoint_keeps_what_was_learned() -> None:
    image, residual = observations()
    residual[20:50, 40:70] = 0.35
    weights = StaticWeights(None, 3, HEIGHT, WIDTH)
    weights.observe(1, residual, image)
    restored = StaticWeights(None, 3, HEIGHT, WIDTH)
    restored.restore(weights.state([0, 1, 2]))
    for frame in range(3):
        np.testing.assert_array_equal(weights[frame], restored[frame])
    assert isinstance(weights.state([1])["evidence"], torch.Tensor)


def test_what_was_not_observed_weighs_nothing_and_is_no_evidence() -> None:
    image, residual = observations()
    observed = np.ones((HEIGHT, WIDTH), np.float32)
    observed[:, :40], observed[:, 40:60] = 0, 0.5
    residual[:, :40] = 0.9
    weights = StaticWeights(None, 1, HEIGHT, WIDTH, observed=[observed])
    for _ in range(6):
        weights.observe(0, residual, image)
    assert weights[0][:, :40].max() == 0.0
    assert np.abs(weights[0][:, 44:56] - 0.5).max() < 0.01
    assert weights[0][:, 64:].min() > 0.99

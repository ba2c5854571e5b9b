"""Missing texture is completed by texture, and structure goes on through the hole."""

import numpy as np

from stillsplat.plate.exemplar import complete_texture


def test_stripes_go_on() -> None:
    columns = np.arange(120)
    stripes = np.where((columns // 6) % 2 == 0, 0.8, 0.2)
    image = np.repeat(np.tile(stripes, (90, 1))[..., None], 3, axis=2).astype(np.float32)
    missing = np.zeros((90, 120), bool)
    missing[30:60, 40:75] = True
    damaged = np.where(missing[..., None], 0.5, image).astype(np.float32)
    found = complete_texture(damaged, missing, ~missing)
    assert np.array_equal(found[~missing], damaged[~missing])
    assert (np.abs(found - image)[missing].max(axis=-1) < 0.15).mean() > 0.9


def test_texture_is_not_a_blur() -> None:
    image = np.random.default_rng(1).uniform(size=(80, 100, 3)).astype(np.float32)
    missing = np.zeros((80, 100), bool)
    missing[30:50, 40:65] = True
    found = complete_texture(image, missing, ~missing, seed=2)
    assert found[missing].std() > 0.5 * image[~missing].std()
    assert np.array_equal(found, complete_texture(image, missing, ~missing, seed=2))


def test_too_little_to_learn_from_is_continued_smoothly() -> None:
    image = np.full((40, 50, 3), 0.3, np.float32)
    missing = np.ones((40, 50), bool)
    missing[:4] = False
    found = complete_texture(image, missing, ~missing)
    assert np.abs(found - 0.3).max() < 0.01

"""The grain of a clip is measured where a picture is flat."""

import numpy as np

from stillsplat.plate.grain import grain


def test_the_deviation_of_noise_is_found_beside_texture() -> None:
    generator = np.random.default_rng(0)
    image = np.full((160, 240, 3), 0.4)
    image[:, 120:] = generator.uniform(0.1, 0.9, (160, 120, 3))
    for sigma in (0.005, 0.02):
        found = grain((image + generator.normal(0, sigma, image.shape)).astype(np.float32))
        assert np.all((found > 0.7 * sigma) & (found < 1.1 * sigma))


def test_no_noise() -> None:
    assert not grain(np.full((64, 64, 3), 0.5, np.float32)).any()
    assert not grain(np.zeros((8, 8, 3), np.float32)).any()

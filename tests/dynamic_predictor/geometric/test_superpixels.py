"""Superpixels."""

import numpy as np
import pytest

from dynamic_predictor.geometric.superpixels import superpixels


@pytest.mark.parametrize("shape", [(64, 64), (61, 83), (9, 200)])
def test_superpixels_cover_the_image_and_do_not_cross_a_strong_edge(shape):
    image = np.full((*shape, 3), 40, np.uint8)
    image[:, shape[1] // 2 :] = 200
    labels = superpixels(image, 8)
    assert labels.shape == shape and labels.min() == 0
    left, right = labels[:, : shape[1] // 2 - 2], labels[:, shape[1] // 2 + 2 :]
    assert not set(np.unique(left)) & set(np.unique(right))

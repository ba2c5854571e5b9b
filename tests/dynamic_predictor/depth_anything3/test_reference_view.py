"""The choice of the reference view against the official code."""

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.reference_view import choose_reference_view, reference_first, take_views
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import read_arrays


def test_reference_views(shared):
    arrays = read_arrays(shared, "maths_refview")
    for index in range(4):
        tokens = torch.from_numpy(arrays[f"{index}/x"])
        for strategy in ("first", "middle", "saddle_balanced", "saddle_sim_range"):
            chosen = choose_reference_view(tokens[:, :, 0], strategy)
            np.testing.assert_array_equal(chosen.numpy(), arrays[f"{index}/{strategy}"])
        order = reference_first(choose_reference_view(tokens[:, :, 0]), tokens.shape[1])
        np.testing.assert_array_equal(take_views(tokens, order).numpy(), arrays[f"{index}/reordered"])
        assert torch.equal(take_views(take_views(tokens, order), order.argsort(dim=1)), tokens)
    with pytest.raises(InputError, match="saddle_balanced"):
        choose_reference_view(torch.zeros(1, 4, 8), "best")  # type: ignore[arg-type]

"""Official results by the official conventions. What differs in ours is tested beside the code that calls them."""

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.official import OFFICIAL, decompose_ql, decompose_qr
from tests.dynamic_predictor.depth_anything3.da3_goldens import assert_close, read_arrays

_NETWORKS = ["tiny_anyview", "tiny_anyview_posecond", "tiny_giant_gs", "tiny_mono_metric"]


@pytest.mark.parametrize("name", [*_NETWORKS, "tiny_anyview_raypose", "tiny_nested"])
def test_images_are_normalized_as_officially(golden, name):
    goldens = golden(name)
    cases = [case for case in goldens.cases() if f"{case}/img" in goldens]
    assert cases
    for case in cases:
        pixels = (goldens[f"{case}/img"] * 255.0).astype(np.uint8).transpose(0, 2, 3, 1)
        back = OFFICIAL.returned_images(pixels, goldens.tensor(f"{case}/x").flatten(0, 1))
        assert np.abs(back.astype(int) - pixels).max() <= 1  # truncation turns an error of the last bit into 1


def test_factorizations(shared):
    arrays = read_arrays(shared, "maths_raypose")
    matrices = torch.from_numpy(arrays["ql/A"])
    q, lower = decompose_ql(matrices)
    assert_close(q, arrays["ql/Q"])
    assert_close(lower, arrays["ql/L"])
    q, upper = decompose_qr(matrices)
    assert_close(q @ upper, arrays["ql/A"], 1e-5)
    assert float(torch.tril(upper, -1).abs().max()) < 1e-6 and float(upper.diagonal(dim1=-2, dim2=-1).min()) > 0

"""Gaussians from raw parameters against the official code."""

import pytest

from dynamic_predictor.depth_anything3.gaussians import gaussians_from_pixels, rotate_sh
from tests.dynamic_predictor.depth_anything3.da3_goldens import assert_close, read_arrays, tensors


def test_rotated_spherical_harmonics_equal_the_official_ones(shared):
    arrays = read_arrays(shared, "maths_geometry")
    coefficients, rotations = tensors(arrays, "sh/coef", "sh/R")
    assert_close(rotate_sh(coefficients, rotations[:, None]), arrays["sh/rotated"])


@pytest.mark.parametrize("case", ["pred", "gt"])
def test_gaussians_of_pixels(shared, case):
    arrays = read_arrays(shared, "maths_geometry")
    raw, opacity, depth, extrinsics, intrinsics, known = (
        tensor.float()
        for tensor in tensors(
            arrays,
            *(
                f"gs_adapter/{name}"
                for name in ("raw", "opacity", "depth", "extrinsics", "intrinsics", "gt_extrinsics")
            ),
        )
    )
    known_cameras = known if case == "gt" else None
    ours = gaussians_from_pixels(raw, opacity, depth, extrinsics, intrinsics, known_cameras=known_cameras)
    for name in ("means", "scales", "rotations", "opacities"):
        assert_close(getattr(ours, name), arrays[f"gs_adapter/{case}.{name}"])
    assert_close(ours.sh_coefficients, arrays[f"gs_adapter/{case}.harmonics"])

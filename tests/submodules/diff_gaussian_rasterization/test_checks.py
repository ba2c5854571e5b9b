"""Wrong arguments raise ValueError with one sentence that names the argument."""

import diff_gaussian_rasterization as kernels
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.test_library import cloud


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(5, 2)}, r"means must have shape \(N, 3\), not \(5, 2\)"),
        ({"means": torch.zeros(100, 3, dtype=torch.float64)}, "means must be float32, not float64"),
        ({"means": torch.zeros(100, 3, device="meta")}, "means must be on the CPU"),
        ({"rotations": torch.zeros(99, 4)}, r"rotations must have shape \(100, 4\), not \(99, 4\)"),
        ({"scales": torch.zeros(100)}, r"scales must have shape \(100, 3\), not \(100,\)"),
        ({"scales": None}, "pass rotations and scales, or covariances"),
        ({"opacities": torch.zeros(100, 3)}, "opacities must have shape"),
        ({"sh_coefficients": torch.zeros(100, 3)}, r"sh_coefficients must have shape \(N, K, 3\)"),
        ({"colors": torch.zeros(100, 3)}, "exactly one of sh_coefficients and colors"),
        ({"sh_degree": 4}, "sh_degree must be 0 to 3"),
        ({"width": 0}, "width must be a whole number"),
        ({"height": float("nan")}, "height must be a whole number"),
        ({"near_plane": 0.0}, "near_plane must be positive"),
        ({"scale_modifier": float("inf")}, "scale_modifier must be positive"),
        ({"camera_from_world": torch.eye(3)}, "camera_from_world must have shape"),
        ({"camera_from_world": torch.full((4, 4), float("nan"))}, "camera_from_world must be finite"),
        ({"intrinsics": (10.0, -10.0, 5.0, 5.0)}, "focal lengths must be positive"),
        ({"background": (0.0, 0.0)}, "background must have shape"),
        ({"screen_means": torch.zeros(100, 3)}, "screen_means must have shape"),
    ],
)
def test_wrong_input_is_one_sentence(change, message):
    scene, options = cloud(100)
    with pytest.raises(ValueError, match=message) as caught:
        kernels.rasterize(**(scene | options | change))
    assert "\n" not in str(caught.value)

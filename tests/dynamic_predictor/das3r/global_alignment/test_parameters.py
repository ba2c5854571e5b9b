"""The unknowns and the matrices computed from them, against official values."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.parameters import signed_expm1, signed_log1p
from tests.dynamic_predictor.das3r.global_alignment.golden_problem import problem_of, set_state


def test_signed_logarithm_and_its_inverse(golden_arrays):
    data = golden_arrays("transforms.npz")
    values = torch.from_numpy(data["a"])
    np.testing.assert_allclose(signed_log1p(3.0 * values), data["slog"], rtol=1e-4)
    np.testing.assert_allclose(signed_expm1(values), data["sexp"], rtol=1e-4)


@pytest.mark.parametrize("kind", ["shared", "perimg"])
@pytest.mark.parametrize("moment", ["init", "pert", "opt20"])
def test_what_the_unknowns_stand_for(data, kind, moment):
    """Cameras, focal lengths, similarities of pairs and depths of three states; points of the first."""
    problem, prefix = problem_of(data, kind), f"{kind}_{moment}"
    set_state(problem, data, prefix)
    parameters = problem.parameters
    np.testing.assert_allclose(parameters.world_from_camera(), data[f"{prefix}_get_im_poses"], atol=1e-6)
    np.testing.assert_allclose(parameters.focal_lengths(), data[f"{prefix}_get_focals"][:, 0], rtol=1e-6)
    np.testing.assert_allclose(parameters.intrinsics(), data[f"{prefix}_get_intrinsics"], rtol=1e-6)
    np.testing.assert_allclose(parameters.principal_points, [16.0, 12.0] + 10.0 * data[f"{prefix}_im_pp"])
    np.testing.assert_allclose(parameters.world_from_pair(), data[f"{prefix}_get_pw_poses"][:, :3], atol=1e-6)
    depth = parameters.log_depth.exp()
    np.testing.assert_allclose(depth.reshape(6, 24, 32), data[f"{prefix}_depth"], rtol=1e-6)
    if moment == "init":
        matrix, pixels = parameters.world_from_pixel(), problem.observations.pixels.homogeneous
        points = matrix[:, :, :3] @ (depth[:, None] * pixels) + matrix[:, :, 3:]
        expected = data[f"{prefix}_pts3d"].reshape(6, 768, 3)
        np.testing.assert_allclose(points.transpose(1, 2), expected, atol=1e-5)

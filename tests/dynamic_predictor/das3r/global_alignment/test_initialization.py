"""The spanning tree and the initial parameters against official values."""

import numpy as np
import pytest

from dynamic_predictor.das3r.global_alignment.initialization import build_spanning_tree
from dynamic_predictor.das3r.global_alignment.official import OFFICIAL
from tests.dynamic_predictor.das3r.global_alignment.golden_problem import predictions_of, problem_of


def test_scores_and_spanning_tree(data):
    predictions = predictions_of(data)
    np.testing.assert_allclose(predictions.mean_confidence.prod(axis=1), data["scores"], rtol=1e-5)
    tree = build_spanning_tree(predictions, np.tile([16.0, 12.0], (6, 1)), conventions=OFFICIAL)
    assert tree.edges == [tuple(edge) for edge in data["mst_edges"].tolist()]
    np.testing.assert_allclose(tree.focals, data["mst_focals"], rtol=1e-5)
    np.testing.assert_allclose(tree.world_from_camera, data["mst_poses"], atol=1e-4)


@pytest.mark.parametrize("kind", ["shared", "perimg"])
def test_initialization(data, kind):
    parameters = problem_of(data, kind).parameters
    np.testing.assert_allclose(parameters.log_depth, data[f"{kind}_init_im_depthmaps"], atol=1e-5)
    np.testing.assert_allclose(parameters.focals, data[f"{kind}_init_im_focals"], rtol=1e-5)
    np.testing.assert_allclose(parameters.world_from_camera(), data[f"{kind}_init_get_im_poses"], atol=1e-5)
    np.testing.assert_allclose(parameters.world_from_pair(), data[f"{kind}_init_get_pw_poses"][:, :3], atol=1e-5)
    np.testing.assert_allclose(parameters.intrinsics(), data[f"{kind}_init_get_intrinsics"], rtol=1e-5)

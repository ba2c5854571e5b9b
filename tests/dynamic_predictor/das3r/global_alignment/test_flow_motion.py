"""Motion detection by unexplained flow, against the official values and on a synthetic clip."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.flow_motion import pair_geometry, unexplained_flow
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from scene.errors import InputError
from tests.synthetic_pairs import SyntheticClip


def test_geometry_of_single_pairs(monst3r):
    data, predictions = monst3r
    for pair in range(9):
        found = pair_geometry(predictions, pair, pair + 9, pixel_offset=0.0)
        expected = [np.stack([data[f"{key}_i"][pair], data[f"{key}_j"][pair]]) for key in ("intrinsics", "R", "T")]
        np.testing.assert_allclose(found.intrinsics, expected[0], rtol=1e-4)
        np.testing.assert_allclose(found.world_from_camera[:, :3, :3], expected[1], atol=1e-4)
        np.testing.assert_allclose(found.world_from_camera[:, :3, 3:], expected[2], atol=1e-4)
        depths = np.stack([data["depth_maps_i"][pair, 0], data["depth_maps_j"][pair, 0]])
        np.testing.assert_allclose(found.z_depth, depths, atol=1e-4)


def test_the_first_pair_equals_that_of_the_official_viewer(monst3r):
    data, predictions = monst3r
    found = pair_geometry(predictions, 0, 9, pixel_offset=0.0)
    np.testing.assert_allclose(found.intrinsics[:, 0, 0], data["pair01_focals"], rtol=1e-4)
    np.testing.assert_allclose(found.intrinsics, data["pair01_K"], rtol=1e-4)
    np.testing.assert_allclose(found.world_from_camera, data["pair01_poses"], atol=1e-4)
    np.testing.assert_allclose(found.z_depth, data["pair01_depth"], atol=1e-4)


def test_motion_masks_of_monst3r(monst3r):
    data, predictions = monst3r
    flows = {}
    for pair, (i, j) in enumerate(data["edges"][:9].tolist()):
        flows[i, j] = np.moveaxis(data["flow_ij"][pair], 0, -1)
        flows[j, i] = np.moveaxis(data["flow_ji"][pair], 0, -1)
    error = unexplained_flow(predictions, lambda i, j: flows[i, j], pixel_offset=0.0)
    masks = data["dynamic_masks"]
    disagree = (error.numpy() > 0.35) != masks
    assert masks.any()
    assert disagree.mean() <= 1e-3


def test_a_moving_ball_is_found():
    clip = SyntheticClip.make(5, 48, 64)
    still = SyntheticClip.make(5, 48, 64, moving_ball=False)
    predictions = PairPredictions(pair_edges(5, "swin-2-noncyclic"), 48, 64, dtype=torch.float32, with_motion=False)
    clip.fill(predictions)
    moved = {frame: np.where(clip.moving[frame][..., None], [6.0, 0.0], 0.0) for frame in range(5)}
    error = unexplained_flow(predictions, lambda i, j: clip.flow(i, j) + moved[i], pixel_offset=0.5).numpy()
    assert still.moving.sum() == 0
    found = error > 0.35
    assert (found & clip.moving).sum() / (found | clip.moving).sum() > 0.9


def test_one_way_graphs_have_no_flow_motion():
    predictions = PairPredictions([(0, 1), (0, 2)], 8, 8, with_motion=False)
    with pytest.raises(InputError, match="both directions"):
        unexplained_flow(predictions, lambda i, j: np.zeros((8, 8, 2)), pixel_offset=0.5)

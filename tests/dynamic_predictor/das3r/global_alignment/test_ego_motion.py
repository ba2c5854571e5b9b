"""Flow of a still world and motion by unexplained flow, against the official values."""

import numpy as np
import pytest
import torch

from benchmarks.synthetic_pairs import SyntheticClip
from dynamic_predictor.das3r.global_alignment.align import AlignmentProblem
from dynamic_predictor.das3r.global_alignment.ego_motion import (
    consistent_flow,
    ego_flow,
    pixel_transfer,
    sample_at_flow,
)
from dynamic_predictor.das3r.global_alignment.flow_motion import pair_geometry, unexplained_flow
from dynamic_predictor.das3r.global_alignment.flow_term import FlowObservations
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.regularization import depth_shape_change
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from scene.errors import InputError


@pytest.fixture
def geometry(golden_arrays):
    return {key: torch.from_numpy(value) for key, value in golden_arrays("geometry.npz").items()}


def test_flow_of_a_still_world(geometry):
    matrices = pixel_transfer(geometry["K"], geometry["K"], geometry["c2w"][:3], geometry["c2w"][1:4])
    flow = ego_flow(geometry["depth"][:3], matrices, PixelGrid.of(24, 32, 0.0))
    torch.testing.assert_close(flow, geometry["ego_flow"][:, :2], rtol=1e-4, atol=1e-4)


def test_points_of_depths(geometry):
    grid = PixelGrid.of(24, 32, 0.0).homogeneous
    focals, centers = geometry["focals"], geometry["pp"]
    rays = (grid[None, :2] - centers[..., None]) / focals[..., None]
    points = torch.cat([rays, torch.ones(3, 1, 768)], dim=1) * geometry["depth"][:3].reshape(3, 1, -1)
    torch.testing.assert_close(points.transpose(1, 2), geometry["fast_pts"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(points.transpose(1, 2).reshape(3, 24, 32, 3), geometry["pts_pp"], rtol=1e-4, atol=1e-5)


def test_warping_and_consistency(geometry):
    there = geometry["flow_ij"]
    torch.testing.assert_close(sample_at_flow(geometry["imgs"], there[3:]), geometry["warped"], rtol=1e-4, atol=1e-4)
    consistent = consistent_flow(there[:3], geometry["flow_ji"], strict_official=True)
    assert torch.equal(consistent, geometry["occ_valid"][:, 0])


def test_errors_do_not_cancel_by_default():
    there = torch.zeros(1, 2, 8, 8)
    back = torch.stack([torch.full((8, 8), 10.0), torch.full((8, 8), -10.0)])[None]
    assert consistent_flow(there, back, strict_official=True).all()
    assert not consistent_flow(there, back).any()


def test_change_of_depth_shape(geometry):
    log_depth = geometry["depth"].reshape(6, -1).log()
    weight = geometry["si_weight"].reshape(3, -1)
    plain = depth_shape_change(log_depth[:3], log_depth[1:4])
    weighted = depth_shape_change(log_depth[:3], log_depth[1:4], weight)
    assert float(plain) == pytest.approx(float(geometry["si_loss"]), rel=1e-4)
    assert float(weighted) == pytest.approx(float(geometry["si_loss_weighted"]), rel=1e-4)


@pytest.fixture
def monst3r(golden_arrays):
    data = golden_arrays("monst3r_motion_mask.npz")
    predictions = PairPredictions(data["edges"], 24, 32, dtype=torch.float32, with_motion=False)
    predictions.store(np.arange(18), data["pred_i"], data["conf_i"], data["pred_j"], data["conf_j"])
    return data, predictions


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


def test_the_first_pair_as_official_viewers_have_it(monst3r):
    data, predictions = monst3r
    found = pair_geometry(predictions, 0, 9, pixel_offset=0.0)
    np.testing.assert_allclose(found.intrinsics[:, 0, 0], data["pair01_focals"], rtol=1e-4)
    np.testing.assert_allclose(found.intrinsics, data["pair01_K"], rtol=1e-4)
    np.testing.assert_allclose(found.world_from_camera, data["pair01_poses"], atol=1e-4)
    np.testing.assert_allclose(found.z_depth, data["pair01_depth"], atol=1e-4)


def test_losses_of_monst3r_at_the_start(monst3r):
    """Its flows there and back are two sets: those back are not the flows of the reversed pairs."""
    data, predictions = monst3r
    settings = AlignmentSettings(strict_official=True, temporal_smoothing_weight=0.0)
    problem = AlignmentProblem(predictions, settings)
    for key, order in (("flow_ij", 1), ("flow_ji", -1)):
        ways = [tuple(edge[::order]) for edge in data["edges"].tolist()]
        flows = {way: np.moveaxis(flow, 0, -1) for way, flow in zip(ways, data[key], strict=True)}
        problem.flows.append(
            FlowObservations.of(lambda i, j, flows=flows: flows[i, j], ways, 6, 768, dtype=torch.float32)
        )
    problem.moving = torch.from_numpy(data["dynamic_masks"].reshape(6, -1))
    problem.clear_flows()
    problem.initialize()
    start, with_flow = float(problem.loss(0.0)), float(problem.loss(1.0))
    assert with_flow == pytest.approx(float(data["loss_init"]), rel=1e-4)
    assert (with_flow - start) / settings.flow_loss_weight == pytest.approx(float(data["flow_loss_init"]), rel=1e-4)


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
    with pytest.raises(InputError, match="both ways"):
        unexplained_flow(predictions, lambda i, j: np.zeros((8, 8, 2)), pixel_offset=0.5)

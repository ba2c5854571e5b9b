"""Ego flow and the forward-backward check against official values."""

import torch

from dynamic_predictor.das3r.global_alignment.ego_motion import (
    consistent_flow,
    ego_flow,
    pixel_transfer,
    round_trip_error,
    sample_at_flow,
)
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid


def test_ego_flow(geometry):
    inverse = torch.linalg.inv(geometry["K"])
    matrices = pixel_transfer(inverse, geometry["K"], geometry["c2w"][:3], geometry["c2w"][1:4])
    flow = ego_flow(geometry["depth"][:3], matrices, PixelGrid.of(24, 32, 0.0))
    torch.testing.assert_close(flow, geometry["ego_flow"][:, :2], rtol=1e-4, atol=1e-4)


def test_warping_and_consistency(geometry):
    """The official check adds the errors of both coordinates, which may cancel, instead of taking their distance."""
    forward = geometry["flow_ij"]
    torch.testing.assert_close(sample_at_flow(geometry["imgs"], forward[3:]), geometry["warped"], rtol=1e-4, atol=1e-4)
    error, inside = round_trip_error(forward[:3], geometry["flow_ji"])
    assert torch.equal(inside & (error.sum(dim=1).abs() < 3.0), geometry["occ_valid"][:, 0])


def test_errors_of_both_coordinates_do_not_cancel():
    forward = torch.zeros(1, 2, 8, 8)
    backward = torch.stack([torch.full((8, 8), 10.0), torch.full((8, 8), -10.0)])[None]
    error, inside = round_trip_error(forward, backward)
    assert inside.all() and not error.sum(dim=1).any()
    assert not consistent_flow(forward, backward).any()

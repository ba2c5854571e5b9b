"""Weights, distances and pixel coordinates of the pairwise term against official values."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment import pairwise_term
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid, confidence_weights


@pytest.mark.parametrize("name", ["log", "sqrt", "m1", "id"])
def test_confidence_transforms(golden_arrays, name):
    data = golden_arrays("transforms.npz")
    weights = confidence_weights(torch.from_numpy(data["conf"]), name)
    np.testing.assert_allclose(weights, data[name].clip(min=0.0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("compiled", [True, False])
def test_distances(golden_arrays, distance, compiled, monkeypatch):
    """Each case has one camera at point a, and one pair that puts it at point b with weight w, in one of 16 pixels."""
    data = golden_arrays("transforms.npz")
    if not compiled:
        monkeypatch.setattr(pairwise_term, "compiled_terms", lambda points: None)
    centers, seen, weights, expected = (
        torch.from_numpy(data[key].reshape(35, -1)) for key in ("a", "b", "w", distance)
    )
    for k in range(35):
        only = torch.zeros(1, 16)
        only[0, k % 16] = weights[k]
        observations = pairwise_term.PairwiseObservations(
            points=seen[k].reshape(1, 3, 1).repeat(1, 1, 16),
            weights=only,
            frame_start=np.array([0, 1]),
            pair_of_slot=torch.zeros(1, dtype=torch.int64),
            units=torch.ones(1),
            pixels=PixelGrid.of(4, 4, 0.0),
            distance=distance,
        )
        camera = torch.cat([torch.zeros(3, 3), centers[k, :, None]], dim=1)[None]
        loss = pairwise_term.pairwise_loss(observations, camera, torch.zeros(1, 16), torch.eye(3, 4)[None])
        assert 16.0 * float(loss) == pytest.approx(float(expected[k]), rel=1e-5)


def test_points_of_depths(geometry):
    grid = PixelGrid.of(24, 32, 0.0).homogeneous
    focals, centers = geometry["focals"], geometry["pp"]
    rays = (grid[None, :2] - centers[..., None]) / focals[..., None]
    points = torch.cat([rays, torch.ones(3, 1, 768)], dim=1) * geometry["depth"][:3].reshape(3, 1, -1)
    torch.testing.assert_close(points.transpose(1, 2), geometry["fast_pts"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(points.transpose(1, 2).reshape(3, 24, 32, 3), geometry["pts_pp"], rtol=1e-4, atol=1e-5)

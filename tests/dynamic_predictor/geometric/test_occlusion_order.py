"""Occlusion order on two planes at known depths, of which one covers the other."""

import numpy as np
import pytest

from dynamic_predictor.geometric.geometry import Geometry
from dynamic_predictor.geometric.occlusion_order import occlusion_order
from tests.dynamic_predictor.geometric.synthetic_tracks import CENTER, curved_path, tracks_with_object


def two_planes(object_depth: float):
    """The geometry of a clip in which an object at `object_depth`, which stands still, covers a plane at depth 5."""
    rng = np.random.default_rng(0)
    truth = curved_path(count=12)
    hosts, depths, on_object = tracks_with_object(truth, rng, depth=object_depth, background=(5.0, 5.0), per_host=400)
    return Geometry(hosts, depths, truth, np.ones(12, bool), CENTER), on_object


def test_a_near_object_covers_what_is_behind_it():
    geometry, _ = two_planes(2.5)
    order = occlusion_order(geometry)
    assert order.consistent > 100
    assert len(order.covering) < 0.05 * order.consistent
    assert order.contradiction < 0.05


def test_an_object_cannot_cover_what_is_in_front_of_it():
    geometry, on_object = two_planes(2.5)
    for depth, chosen in zip(geometry.inverse_depths, on_object, strict=True):
        depth[chosen] = 1e-3  # where a wrong camera places it
    order = occlusion_order(geometry)
    assert order.contradiction > 0.6
    assert np.median(order.covering) == pytest.approx(1e-3, rel=0.3)
    assert np.median(order.covered) == pytest.approx(0.2, rel=0.3)


def test_tracks_that_move_have_no_order():
    geometry, on_object = two_planes(2.5)
    for depth, weight, chosen in zip(geometry.inverse_depths, geometry.track_weights, on_object, strict=True):
        depth[chosen] = 1e-3
        weight[chosen] = 0.0
    assert len(occlusion_order(geometry).covering) == 0

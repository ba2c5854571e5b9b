"""Depth from exactly known flow."""

import numpy as np

from dynamic_predictor.geometric.depth import estimate_depth, partner_frames, triangulate
from dynamic_predictor.geometric.rigid_flow import RigidPair
from tests.dynamic_predictor.geometric.known_scene import COUNT, KnownFlow, cast, path


def test_exact_flow_gives_exact_depth():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths)
    partners = partner_frames(4, COUNT, (1, 2, 4))
    inverse_depth, information, kept = triangulate(
        [flow(4, other) for other in partners],
        [RigidPair.between(cameras[4], cameras[other]) for other in partners],
    )
    seen = information > 0
    assert seen.mean() > 0.95
    assert kept[seen].min() > 0.99
    np.testing.assert_allclose(1.0 / inverse_depth[seen], depths[4][seen], rtol=1e-3)


def test_depth_maps_are_complete_and_accurate():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    estimate = estimate_depth(KnownFlow(cameras, depths, noise=0.1), cameras)
    for index in (0, 4, COUNT - 1):
        error = np.abs(estimate.z_depths[index] - depths[index]) / depths[index]
        assert (estimate.z_depths[index] > 0).all()
        assert np.median(error) < 0.02
        assert 0.0 <= estimate.confidences[index].min() and estimate.confidences[index].max() <= 1.0


def test_without_parallax_depth_is_plausible_with_confidence_0():
    cameras = path(translation=0.0)
    estimate = estimate_depth(KnownFlow(cameras, [cast(camera) for camera in cameras]), cameras)
    assert (estimate.z_depths[3] > 0.5).all() and (estimate.z_depths[3] < 50).all()
    assert estimate.confidences[3].max() == 0

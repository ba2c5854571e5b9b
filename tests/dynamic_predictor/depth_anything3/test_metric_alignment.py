"""Metric depth, metric scale and depth of sky against the official code."""

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.metric_alignment import align_to_metric, fill_sky, metric_depth, quantile
from dynamic_predictor.depth_anything3.official import OFFICIAL
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import assert_close, read_arrays


def test_metric_alignment_and_sky(shared):
    arrays = read_arrays(shared, "maths_metric_nested")
    depth, confidence, extrinsics, intrinsics, net, sky = (
        torch.from_numpy(arrays[f"nested/{name}"])[0]
        for name in ("depth", "conf", "extrinsics", "intrinsics", "metric_net_depth", "sky")
    )
    metric = metric_depth(net, intrinsics)
    assert_close(metric, arrays["nested/metric_depth"][0], 1e-6)
    aligned = align_to_metric(depth, confidence, extrinsics, metric, sky)
    assert aligned.scale == pytest.approx(float(arrays["nested/scale_factor"]), rel=1e-5)
    assert_close(aligned.camera_from_world, arrays["nested/aligned_extrinsics"][0], 1e-5)
    assert_close(aligned.depth, arrays["nested/final_depth"][0], 1e-5)
    assert_close(aligned.confidence, arrays["nested/final_conf"][0], 1e-6)
    # sky is at most 200 m away
    far = torch.from_numpy(arrays["nested/far_in"])[0]
    scaled = align_to_metric(far, confidence, extrinsics, far, sky)
    assert scaled.scale == pytest.approx(1.0)
    assert_close(scaled.depth, arrays["nested/far_out"][0], 1e-5)
    assert_close(fill_sky(depth, sky), arrays["mono/depth_out"][0], 1e-6)


def test_depth_of_the_metric_model_in_meters(golden):
    goldens = golden("tiny_mono_metric")
    depth, intrinsics = goldens.tensor("metric/net_depth"), goldens.tensor("metric/intrinsics")
    assert_close(metric_depth(depth, intrinsics), goldens["metric/metric_depth"], 1e-6)


def test_images_that_are_all_sky():
    depth, confidence = torch.full((2, 4, 5), 2.0), torch.full((2, 4, 5), 1.5)
    cameras = torch.eye(4)[:3].expand(2, 3, 4)
    sky = torch.ones_like(depth)
    aligned = align_to_metric(depth, confidence, cameras, 3 * depth, sky)
    assert aligned.scale == pytest.approx(3.0) and torch.equal(aligned.depth, 3 * depth)
    with pytest.raises(InputError, match="nothing but sky"):
        align_to_metric(depth, confidence, cameras, 3 * depth, sky, conventions=OFFICIAL)
    assert torch.equal(fill_sky(depth, sky), depth)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99, 1.0])
def test_quantile_is_that_of_numpy(fraction):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=1001))
    assert float(quantile(values, fraction)) == pytest.approx(float(np.quantile(values.numpy(), fraction)))

"""Activations of the heads against the official ones."""

import numpy as np
import torch

from dynamic_predictor.cut3r.heads import activated_color, activated_points, activated_pose


def test_points_and_confidence(golden):
    maths = golden("maths.npz")
    raw = torch.from_numpy(maths["head_raw"])
    for flag in (0, 1):
        points, confidence = activated_points(raw, in_front=bool(flag))
        np.testing.assert_allclose(points.numpy(), maths[f"head_pts_posz{flag}"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(confidence.numpy(), maths[f"head_conf_posz{flag}"], rtol=1e-6)
        if flag:
            assert float(points[..., 2].min()) >= 0
    assert torch.equal(raw, torch.from_numpy(maths["head_raw"]))  # unlike in the official code


def test_color(golden):
    maths = golden("maths.npz")
    color = activated_color(torch.from_numpy(maths["rgb_raw"]))
    np.testing.assert_allclose(color.numpy(), maths["rgb_out"], atol=1e-6)


def test_pose(golden):
    maths = golden("maths.npz")
    pose = activated_pose(torch.from_numpy(maths["pose_raw"]))
    np.testing.assert_allclose(pose.numpy(), maths["pose_out_exp"], rtol=1e-5, atol=1e-6)
    assert torch.isfinite(activated_pose(torch.zeros(2, 7))).all()

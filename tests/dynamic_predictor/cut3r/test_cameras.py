"""Poses, ray maps, rigid alignment and the focal length against the official code."""

import numpy as np
import torch

from dynamic_predictor.cut3r.cameras import pose_matrix, pose_of_matrix, ray_map, rigid_alignment
from dynamic_predictor.das3r.global_alignment.focal import estimate_focal
from scene.rotations import rotation_from_quaternion


def test_poses(golden):
    maths = golden("maths.npz")
    np.testing.assert_allclose(pose_matrix(maths["pose_out_exp"]), maths["pose_c2w"], atol=1e-5)
    np.testing.assert_allclose(pose_of_matrix(maths["pose_c2w"]), maths["c2w_to_encoding"], atol=1e-5)
    np.testing.assert_allclose(rotation_from_quaternion(maths["quat_wxyz"]), maths["quat_to_matrix"], atol=1e-5)
    quaternion = pose_of_matrix(np.pad(maths["quat_to_matrix"], ((0, 0), (0, 1), (0, 1))))[:, 3:]
    np.testing.assert_allclose(quaternion, maths["matrix_to_quat_wxyz"], atol=1e-5)


def test_ray_map_with_the_official_quirk(golden):
    maths = golden("maths.npz")
    pose = np.linalg.inv(maths["ray_c2w1"]) @ maths["ray_c2w2"]
    ours = ray_map(maths["ray_K"], pose, 24, 32)
    expected = maths["ray_map_h24_w32"]
    ours = ours if expected.shape == ours.shape else ours[::6, ::6]
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    # without translation, the directions are those of the rays
    turned = pose.copy()
    turned[:3, 3] = 0
    rays = ray_map(maths["ray_K"], turned, 24, 32, pixel_offset=0.5)
    pixel = np.array([7.5, 3.5, 1.0])
    along = turned[:3, :3] @ np.linalg.inv(maths["ray_K"]) @ pixel
    np.testing.assert_allclose(rays[3, 7], [0, 0, 0, *along / np.linalg.norm(along)], atol=1e-6)


def test_rigid_alignment(golden):
    maths = golden("maths.npz")
    for points, targets, weights, expected in zip(
        *(maths[f"procrustes_{name}"] for name in ("A", "B", "w", "T")), strict=True
    ):
        found = rigid_alignment(points, targets, np.abs(weights))
        if (weights >= 0).all():
            np.testing.assert_allclose(found, expected, atol=1e-4)
        moved = points @ expected[:3, :3].T + expected[:3, 3]
        np.testing.assert_allclose(rigid_alignment(points, moved, np.abs(weights)), expected, atol=1e-4)


def test_focal_length(golden):
    maths = golden("maths.npz")
    for points, center, expected in zip(
        *(maths[f"focal_{name}"] for name in ("points", "pp", "weiszfeld")), strict=True
    ):
        cx, cy = center.tolist()
        assert abs(estimate_focal(torch.from_numpy(points), (cx, cy)) - expected) < 1e-3 * expected

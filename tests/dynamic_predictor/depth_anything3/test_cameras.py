"""Quaternions and camera encodings against the official code."""

import torch

from dynamic_predictor.depth_anything3.cameras import (
    decode_cameras,
    encode_cameras,
    inverse_rigid,
    rotation_from_xyzw,
    xyzw_from_rotation,
)
from tests.dynamic_predictor.depth_anything3.da3_goldens import assert_close, read_arrays, tensors


def test_quaternions_and_pose_encodings(shared):
    arrays = read_arrays(shared, "maths_geometry")
    rotations, raw = tensors(arrays, "rotmat", "quat_raw_xyzw")
    assert_close(xyzw_from_rotation(rotations), arrays["mat_to_quat_xyzw"], 1e-5)
    assert_close(rotation_from_xyzw(raw), arrays["quat_to_mat"], 1e-5)
    matrices, intrinsics = tensors(arrays, "pe/extr", "pe/intr")
    # the golden encodes the matrices as they are; ours encodes the inverse of what it is given
    encoding = encode_cameras(inverse_rigid(matrices), intrinsics, (56, 70))
    assert_close(encoding, arrays["pe/encoding"], 1e-5)
    assert_close(inverse_rigid(matrices), arrays["pe/affine_inverse"], 1e-5)
    decoded, pixels = decode_cameras(encoding, (56, 70))
    assert_close(inverse_rigid(decoded), arrays["pe/back_extr"], 1e-5)
    assert_close(pixels, arrays["pe/back_intr"], 1e-5)
    decoded, pixels = decode_cameras(torch.from_numpy(arrays["pe/raw"]), (56, 70))
    assert_close(decoded, arrays["pe/raw_w2c"], 1e-4)
    assert_close(pixels, arrays["pe/raw_intr"], 1e-4)

"""Camera encodings, and what the predictor makes of them, against the official code's goldens."""

import numpy as np
import torch

from dynamic_predictor.networks.rigid_motions import inverse_rigid, rotation_from_xyzw, xyzw_from_rotation
from dynamic_predictor.streamvggt.cameras import activated, decode_cameras, encode_cameras
from dynamic_predictor.streamvggt.official import OFFICIAL
from scene.camera import Camera


def _close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def test_activation_of_encodings(golden):
    arrays = golden("maths")
    _close(activated(torch.from_numpy(arrays["pose_raw"])), arrays["pose_act"])


def test_quaternions(golden):
    arrays = golden("maths")
    matrices = rotation_from_xyzw(torch.from_numpy(arrays["quat_xyzw"]))
    _close(matrices, arrays["quat_to_mat"])
    _close(xyzw_from_rotation(torch.from_numpy(arrays["quat_to_mat"])), arrays["mat_to_quat_xyzw"])


def test_encodings_there_and_back(golden):
    arrays = golden("maths")
    cameras, intrinsics = torch.from_numpy(arrays["enc_extrinsics_w2c"]), torch.from_numpy(arrays["enc_intrinsics"])
    encoding = encode_cameras(cameras, intrinsics, (56, 70))
    _close(encoding, arrays["enc_absT_quaR_FoV_h56_w70"])
    decoded, matrices = decode_cameras(encoding, (56, 70))
    _close(decoded, arrays["dec_extrinsics"])
    _close(matrices, arrays["dec_intrinsics"], 1e-3)


def test_inverse_of_rigid_motions(golden):
    arrays = golden("maths")
    cameras = torch.from_numpy(arrays["enc_extrinsics_w2c"]).flatten(0, 1)[: len(arrays["se3_inverse"])]
    _close(inverse_rigid(cameras), arrays["se3_inverse"][:, :3])


def test_tiny_extrinsics(golden):
    arrays = golden("tiny")
    for prefix in ("offline_", "stream_"):
        found, _ = decode_cameras(torch.from_numpy(arrays[prefix + "camera_pose"]), (56, 70))
        _close(found, arrays[prefix + "extrinsics_w2c"])


def test_official_world_points_have_the_axis_half_a_pixel_off_the_center(golden):
    """The official code counts pixel centers from 0, this project from 0.5; with `strict_official` points are equal."""
    arrays = golden("maths")
    depth = arrays["unproject_depth"]
    height, width = depth.shape[1:]
    for index in range(len(depth)):
        matrix = arrays["enc_intrinsics"].reshape(-1, 3, 3)[index].astype(np.float64)
        matrix[:2, 2] += OFFICIAL.principal_point
        pose = np.eye(4)
        pose[:3] = arrays["enc_extrinsics_w2c"].reshape(-1, 3, 4)[index]
        camera = Camera.from_intrinsics(width, height, matrix, np.linalg.inv(pose))
        _close(camera.unproject(depth[index]), arrays["unproject_points"][index], 1e-3)


def test_a_field_of_view_of_zero_gives_finite_intrinsics():
    _, intrinsics = decode_cameras(torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 0, 0]), (28, 42))
    assert torch.isfinite(intrinsics).all()

"""Camera of the tests of the drop-in interface."""

import torch

from tests.submodules.diff_gaussian_rasterization.splatting_oracle import quaternion_to_matrix


def projection_matrix(tan_x, tan_y, near=0.01, far=100.0):
    matrix = torch.zeros(4, 4)
    matrix[0, 0], matrix[1, 1] = 1 / tan_x, 1 / tan_y
    matrix[2, 2], matrix[2, 3], matrix[3, 2] = far / (far - near), -far * near / (far - near), 1.0
    return matrix


def pose_matrix():
    pose = torch.eye(4)
    pose[:3, :3] = quaternion_to_matrix(torch.tensor([[1.0, -0.1, 0.2, 0.05]]))[0]
    pose[:3, 3] = torch.tensor([0.2, 0.1, 0.5])
    return pose

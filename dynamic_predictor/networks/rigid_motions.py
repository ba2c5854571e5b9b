"""Rotations as quaternions, and inverses of rigid motions, as tensors. Quaternions are xyzw, as networks give them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def rotation_from_xyzw(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions xyzw (..., 4), which need not be normalized."""
    x, y, z, w = quaternion.unbind(-1)
    scale = 2.0 / (quaternion * quaternion).sum(-1)
    entries = [
        1 - scale * (y * y + z * z), scale * (x * y - z * w), scale * (x * z + y * w),
        scale * (x * y + z * w), 1 - scale * (x * x + z * z), scale * (y * z - x * w),
        scale * (x * z - y * w), scale * (y * z + x * w), 1 - scale * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def xyzw_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions xyzw (..., 4) with w >= 0 of rotation matrices (..., 3, 3)."""
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # 4 times the squares of w, x, y, z; below, 4 times the outer product of (w, x, y, z) with itself, of which
    # the row with the largest component is the most accurate
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], dim=-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    products = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], dim=-1),
            torch.stack([wx, squares[..., 1], xy, xz], dim=-1),
            torch.stack([wy, xy, squares[..., 2], yz], dim=-1),
            torch.stack([wz, xz, yz, squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    row = products.gather(-2, best).squeeze(-2)
    wxyz = F.normalize(row, dim=-1)
    wxyz = torch.where(wxyz[..., :1] < 0, -wxyz, wxyz)
    return wxyz[..., [1, 2, 3, 0]]


def inverse_rigid(matrix: Tensor) -> Tensor:
    """The inverses of rigid matrices (..., 3 or 4, 4), in the same shape."""
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    upper = torch.cat([rotation, -rotation @ matrix[..., :3, 3:]], dim=-1)
    return torch.cat([upper, matrix[..., 3:, :]], dim=-2)

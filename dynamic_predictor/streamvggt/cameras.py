"""The camera encoding of VGGT (Wang et al., CVPR 2025).

An encoding has nine numbers: translation 3 and quaternion xyzw 4 of `camera_from_world`, OpenCV axes, and the vertical
and horizontal field of view, full angles in radians. The principal point is the center of the image. The world is
approximately the first camera's frame, in a unit of the network's choice.
"""

import torch
from torch import Tensor

from dynamic_predictor.networks.rigid_motions import rotation_from_xyzw, xyzw_from_rotation

#: least tangent of half a field of view: the network's angles can be 0
_SMALLEST_TANGENT = 1e-6


def activated(encoding: Tensor) -> Tensor:
    """Encodings (..., 9) whose fields of view are not below 0."""
    return torch.cat([encoding[..., :7], encoding[..., 7:].relu()], dim=-1)


def encode_cameras(camera_from_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Encodings (..., 9) of `camera_from_world` (..., 3 or 4, 4) and `intrinsics` (..., 3, 3) in pixels of images of
    `size` (H, W); the principal point is ignored."""
    half = camera_from_world.new_tensor([size[0] / 2, size[1] / 2])
    focal = torch.stack([intrinsics[..., 1, 1], intrinsics[..., 0, 0]], dim=-1)
    rotation = xyzw_from_rotation(camera_from_world[..., :3, :3])
    return torch.cat([camera_from_world[..., :3, 3], rotation, 2 * torch.atan(half / focal)], dim=-1)


def decode_cameras(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """`camera_from_world` (..., 3, 4) and `intrinsics` (..., 3, 3) in pixels of images of `size` (H, W), from encodings
    (..., 9)."""
    camera_from_world = torch.cat([rotation_from_xyzw(encoding[..., 3:7]), encoding[..., :3, None]], dim=-1)
    height, width = size
    tangent = torch.tan(encoding[..., 7:] / 2).clamp_min(_SMALLEST_TANGENT)
    intrinsics = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / tangent[..., 1]
    intrinsics[..., 1, 1] = height / 2 / tangent[..., 0]
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1.0
    return camera_from_world, intrinsics

"""The camera encoding of Depth Anything 3, with the networks that decode it from tokens and encode it as tokens.

An encoding has nine numbers: translation 3 and quaternion xyzw 4 of `world_from_camera`, OpenCV axes, and the vertical
and horizontal field of view, full angles in radians. The principal point is the center of the image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamic_predictor.networks.rigid_motions import inverse_rigid, rotation_from_xyzw, xyzw_from_rotation
from dynamic_predictor.networks.transformer import TransformerBlock

#: least tangent of half a field of view
_SMALLEST_TANGENT = 1e-6


def encode_cameras(camera_from_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Encodings (..., 9) of `camera_from_world` (..., 3 or 4, 4) and `intrinsics` (..., 3, 3) in pixels of images of
    `size` (H, W); the principal point is ignored."""
    world_from_camera = inverse_rigid(camera_from_world)
    height, width = size
    fields = torch.stack(
        [
            2 * torch.atan(height / 2 / intrinsics[..., 1, 1]),
            2 * torch.atan(width / 2 / intrinsics[..., 0, 0]),
        ],
        dim=-1,
    )
    rotation = xyzw_from_rotation(world_from_camera[..., :3, :3])
    return torch.cat([world_from_camera[..., :3, 3], rotation, fields], dim=-1)


def decode_cameras(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """`camera_from_world` (..., 3, 4) and `intrinsics` (..., 3, 3), from encodings (..., 9) of images of `size`."""
    rotation = rotation_from_xyzw(encoding[..., 3:7])
    world_from_camera = torch.cat([rotation, encoding[..., :3, None]], dim=-1)
    height, width = size
    tangent = torch.tan(encoding[..., 7:9] / 2).clamp_min(_SMALLEST_TANGENT)
    intrinsics = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / tangent[..., 1]
    intrinsics[..., 1, 1] = height / 2 / tangent[..., 0]
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1.0
    return inverse_rigid(world_from_camera), intrinsics


class CameraDecoder(nn.Module):
    """Predicts camera encodings from camera tokens."""

    def __init__(self, token_width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(token_width, token_width), nn.ReLU(), nn.Linear(token_width, token_width), nn.ReLU()
        )
        self.fc_t = nn.Linear(token_width, 3)
        self.fc_qvec = nn.Linear(token_width, 4)
        self.fc_fov = nn.Sequential(nn.Linear(token_width, 2), nn.ReLU())

    def forward(self, camera_token: Tensor) -> Tensor:
        """Encodings (..., 9) from camera tokens (..., D)."""
        features = self.backbone(camera_token)
        return torch.cat([self.fc_t(features), self.fc_qvec(features), self.fc_fov(features)], dim=-1)


class PoseBranch(nn.Module):
    """Two linear layers with a GELU between them, from an encoding (..., 9) to (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(9, width // 2)
        self.fc2 = nn.Linear(width // 2, width)

    def forward(self, encoding: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(encoding)))


class CameraEncoder(nn.Module):
    """Encodes known cameras as camera tokens of the backbone."""

    heads = 16

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pose_branch = PoseBranch(width)
        self.token_norm = nn.LayerNorm(width)
        self.trunk = nn.Sequential(
            *(TransformerBlock(width, self.heads, norm_epsilon=1e-5, layer_scale=1.0) for _ in range(4))
        )
        self.trunk_norm = nn.LayerNorm(width)

    def forward(self, camera_from_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens (B, S, C) of `camera_from_world` (B, S, 4, 4) with `intrinsics` (B, S, 3, 3) at `size` (H, W)."""
        tokens = self.token_norm(self.pose_branch(encode_cameras(camera_from_world, intrinsics, size)))
        return self.trunk_norm(self.trunk(tokens))

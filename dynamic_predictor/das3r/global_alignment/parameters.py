"""The unknowns of global alignment and how matrices follow from them.

Parametrizations are those of DUSt3R, which its step sizes are tuned to: log depth; 20 log focal length; poses as a
quaternion xyzw and the signed log1p of the translation; pairs the same with a log scale and the translation in units of
that scale.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

FOCAL_BREAK = 20.0


def signed_log1p(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return value.sign() * value.abs().log1p()


def signed_expm1(value: Tensor) -> Tensor:
    """The inverse of `signed_log1p`. Its gradient at 0 is taken as 0, which holds the first camera's centre."""
    return value.sign() * value.abs().expm1()


def rotation_matrices(quaternion: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of quaternions xyzw (..., 4) of any length; in the official code's order of operations, see
    `plain_terms`."""
    x, y, z, w = (quaternion / torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz, ww = x * x, y * y, z * z, w * w
    rows = [
        [xx - yy - zz + ww, 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), -xx + yy - zz + ww, 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), -xx - yy + zz + ww],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


@dataclass
class AlignmentParameters:
    """The unknowns, float32."""

    log_depth: Tensor  #: (N, H*W)
    poses: Tensor  #: (N, 7): quaternion xyzw, signed_log1p(translation), world_from_camera
    focals: Tensor  #: (1, 1) shared or (N, 1): 20 log of pixels
    pair_poses: Tensor  #: (E, 8): quaternion xyzw, signed_log1p(translation / scale), log scale, world_from_pair
    principal_points: Tensor  #: (N, 2) pixels, fixed
    #: (N,) fy / fx, fixed
    aspect: Tensor
    #: geometric mean of the scales that pairs are normalized to; None: scales are as they stand
    mean_pair_scale: float | None
    #: (N, 4, 4), rows of NaN where a pose is free: poses that are given
    known_poses: Tensor | None = None
    focals_are_free: bool = True

    @property
    def frame_count(self) -> int:
        return len(self.poses)

    def free(self) -> list[Tensor]:
        """What is optimized."""
        free = [self.log_depth, self.pair_poses]
        if self.known_poses is None or bool(torch.isnan(self.known_poses).any()):
            free.append(self.poses)
        if self.focals_are_free:
            free.append(self.focals)
        return free

    def set_pose(self, frame: int, world_from_camera: np.ndarray) -> None:
        """world_from_camera (4, 4), rigid."""
        self.poses[frame] = _pose_vector(world_from_camera[:3, :3], world_from_camera[:3, 3]).to(self.poses.device)

    def set_pair(self, pair: int, scale: float, rotation: np.ndarray, translation: np.ndarray) -> None:
        """world = scale * rotation @ point + translation."""
        self.pair_poses[pair, :7] = _pose_vector(rotation, translation / scale).to(self.pair_poses.device)
        self.pair_poses[pair, 7] = math.log(scale)

    def set_focal(self, frame: int, focal: float) -> None:
        """In pixels; of all frames where it is shared."""
        self.focals[min(frame, len(self.focals) - 1)] = FOCAL_BREAK * math.log(focal)

    def focal_lengths(self) -> Tensor:
        """(N,) pixels, horizontal."""
        return (self.focals[:, 0] / FOCAL_BREAK).exp().expand(self.frame_count)

    def intrinsics(self) -> Tensor:
        """(N, 3, 3)."""
        focal = self.focal_lengths()
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        cx, cy = self.principal_points.unbind(-1)
        rows = [[focal, zero, cx], [zero, focal * self.aspect, cy], [zero, zero, one]]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def inverse_intrinsics(self) -> Tensor:
        """(N, 3, 3)."""
        inverse = 1.0 / self.focal_lengths()
        zero, one = torch.zeros_like(inverse), torch.ones_like(inverse)
        cx, cy = self.principal_points.unbind(-1)
        vertical = inverse / self.aspect
        rows = [[inverse, zero, -cx * inverse], [zero, vertical, -cy * vertical], [zero, zero, one]]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def world_from_camera(self) -> Tensor:
        """(N, 4, 4)."""
        free = _homogeneous(rotation_matrices(self.poses[:, :4]), signed_expm1(self.poses[:, 4:7]))
        if self.known_poses is None:
            return free
        return torch.where(torch.isnan(self.known_poses), free, self.known_poses)

    def pair_scales(self) -> Tensor:
        """(E,)."""
        log_scale = self.pair_poses[:, 7]
        if self.mean_pair_scale is None:
            return log_scale.exp()
        return log_scale.exp() * (math.log(self.mean_pair_scale) - log_scale.mean()).exp()

    def scale_normalization(self) -> float:
        """What scales of pairs, and with them the scene, are multiplied with to have the mean that is asked for."""
        if self.mean_pair_scale is None:
            return 1.0
        return float((math.log(self.mean_pair_scale) - self.pair_poses[:, 7].mean()).exp())

    def world_from_pair(self) -> Tensor:
        """(E, 3, 4)."""
        matrix = torch.cat(
            [rotation_matrices(self.pair_poses[:, :4]), signed_expm1(self.pair_poses[:, 4:7])[..., None]], -1
        )
        return matrix * self.pair_scales()[:, None, None]

    def world_from_pixel(self) -> Tensor:
        """(N, 3, 4): takes depth times homogeneous pixel, and 1, to the world."""
        pose = self.world_from_camera()
        return torch.cat([pose[:, :3, :3] @ self.inverse_intrinsics(), pose[:, :3, 3:]], dim=-1)

    def target_from_source(self, sources: Tensor, targets: Tensor) -> Tensor:
        """(F, 3, 4): takes homogeneous pixel and inverse depth of frame `sources` to pixels of frame `targets`."""
        pose, matrix, inverse = self.world_from_camera(), self.intrinsics(), self.inverse_intrinsics()
        rotation, center = pose[:, :3, :3], pose[:, :3, 3:]
        back = matrix[targets] @ rotation[targets].transpose(1, 2)
        infinity = back @ rotation[sources] @ inverse[sources]
        parallax = back @ (center[sources] - center[targets])
        return torch.cat([infinity, parallax], dim=-1)


def _pose_vector(rotation: np.ndarray, translation: np.ndarray) -> Tensor:
    quaternion = Rotation.from_matrix(np.asarray(rotation, np.float64)).as_quat()
    translation = np.asarray(translation, np.float64)
    compressed = np.sign(translation) * np.log1p(np.abs(translation))
    return torch.from_numpy(np.concatenate([quaternion, compressed])).float()


def _homogeneous(rotation: Tensor, translation: Tensor) -> Tensor:
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(len(top), 1, 4)
    return torch.cat([top, last], dim=1)

"""The unknowns of global alignment and the matrices computed from them.

The parametrization is that of DUSt3R (Wang et al., CVPR 2024), because its learning rate is tuned to it: log depth;
20 log focal length; poses as a quaternion xyzw and the signed log1p of the translation; pair similarities likewise,
with a log scale and the translation divided by the scale.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.ego_motion import pixel_transfer
from scene.similarity import Similarity

#: a focal length f is stored as this times log f, so that it changes slowly
FOCAL_BREAK = 20.0


def signed_log1p(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return value.sign() * value.abs().log1p()


def signed_expm1(value: Tensor) -> Tensor:
    """The inverse of `signed_log1p`. Autograd takes its gradient at 0 as 0, so a camera at the origin stays there."""
    return value.sign() * value.abs().expm1()


def rotation_matrices(quaternion: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of quaternions xyzw (..., 4), in the order of operations of `reference_terms`."""
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
    aspect: Tensor  #: (N,) fy / fx, fixed
    #: geometric mean to which the pair scales are normalized; None: no normalization
    mean_pair_scale: float | None
    #: (N, 4, 4) world_from_camera of frames with a known, fixed pose; NaN for the others
    known_poses: Tensor | None = None
    focals_are_free: bool = True

    @property
    def frame_count(self) -> int:
        return len(self.poses)

    def free(self) -> list[Tensor]:
        """The tensors that are optimized."""
        free = [self.log_depth, self.pair_poses]
        if self.known_poses is None or bool(torch.isnan(self.known_poses).any()):
            free.append(self.poses)
        if self.focals_are_free:
            free.append(self.focals)
        return free

    def set_pose(self, frame: int, world_from_camera: np.ndarray) -> None:
        """Sets a pose to the rigid `world_from_camera` (4, 4)."""
        self.poses[frame] = _pose_vector(world_from_camera[:3, :3], world_from_camera[:3, 3]).to(self.poses.device)

    def set_pair(self, pair: int, world_from_pair: Similarity) -> None:
        """Sets the similarity of a pair."""
        scale, rotation, translation = world_from_pair.scale, world_from_pair.rotation, world_from_pair.translation
        self.pair_poses[pair, :7] = _pose_vector(rotation, translation / scale).to(self.pair_poses.device)
        self.pair_poses[pair, 7] = math.log(scale)

    def set_focal(self, frame: int, focal: float) -> None:
        """Sets the focal length of a frame in pixels; if it is shared, that of all frames."""
        self.focals[min(frame, len(self.focals) - 1)] = FOCAL_BREAK * math.log(focal)

    def focal_lengths(self) -> Tensor:
        """Horizontal focal lengths (N,) in pixels."""
        return (self.focals[:, 0] / FOCAL_BREAK).exp().expand(self.frame_count)

    def intrinsics(self) -> Tensor:
        """Intrinsics (N, 3, 3)."""
        focal = self.focal_lengths()
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        cx, cy = self.principal_points.unbind(-1)
        rows = [[focal, zero, cx], [zero, focal * self.aspect, cy], [zero, zero, one]]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def inverse_intrinsics(self) -> Tensor:
        """Inverses of the intrinsics, (N, 3, 3)."""
        inverse = 1.0 / self.focal_lengths()
        zero, one = torch.zeros_like(inverse), torch.ones_like(inverse)
        cx, cy = self.principal_points.unbind(-1)
        vertical = inverse / self.aspect
        rows = [[inverse, zero, -cx * inverse], [zero, vertical, -cy * vertical], [zero, zero, one]]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def world_from_camera(self) -> Tensor:
        """Poses (N, 4, 4), known ones as given."""
        free = _homogeneous(rotation_matrices(self.poses[:, :4]), signed_expm1(self.poses[:, 4:7]))
        if self.known_poses is None:
            return free
        return torch.where(torch.isnan(self.known_poses), free, self.known_poses)

    def scale_normalization(self) -> Tensor | float:
        """The factor that normalizes the pair scales, and with them the scene, to `mean_pair_scale`."""
        if self.mean_pair_scale is None:
            return 1.0
        return (math.log(self.mean_pair_scale) - self.pair_poses[:, 7].mean()).exp()

    def world_from_pair(self) -> Tensor:
        """Similarities of all pairs, (E, 3, 4)."""
        matrix = torch.cat(
            [rotation_matrices(self.pair_poses[:, :4]), signed_expm1(self.pair_poses[:, 4:7])[..., None]], -1
        )
        scale = self.pair_poses[:, 7].exp() * self.scale_normalization()
        return matrix * scale[:, None, None]

    def world_from_pixel(self) -> Tensor:
        """Matrices (N, 3, 4) that map (depth times homogeneous pixel, 1) to a world point."""
        pose = self.world_from_camera()
        return torch.cat([pose[:, :3, :3] @ self.inverse_intrinsics(), pose[:, :3, 3:]], dim=-1)

    def target_from_source(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Matrices (F, 3, 4) that map a homogeneous pixel of frame `sources`, with its inverse depth as fourth
        coordinate, to a homogeneous pixel of frame `targets`."""
        pose, matrix, inverse = self.world_from_camera(), self.intrinsics(), self.inverse_intrinsics()
        return pixel_transfer(inverse[sources], matrix[targets], pose[sources], pose[targets])


def _pose_vector(rotation: np.ndarray, translation: np.ndarray) -> Tensor:
    """Quaternion xyzw and signed log1p of the translation, (7,)."""
    quaternion = torch.from_numpy(Rotation.from_matrix(np.asarray(rotation, np.float64)).as_quat())
    return torch.cat([quaternion, signed_log1p(torch.from_numpy(np.asarray(translation, np.float64)))]).float()


def _homogeneous(rotation: Tensor, translation: Tensor) -> Tensor:
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(len(top), 1, 4)
    return torch.cat([top, last], dim=1)

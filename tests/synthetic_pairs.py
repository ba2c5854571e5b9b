"""What a perfect two-view network would say about a made-up clip: a camera moves through a room with balls in it, and
one ball moves. Everything is known exactly, at any size, and noise can be added."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions

#: half sizes of the room, and balls (center, radius) that stand in it
_ROOM = np.array([4.0, 2.2, 5.0])
_BALLS = [((-1.6, 0.9, 2.0), 0.9), ((1.8, 0.3, 3.0), 0.8), ((0.4, 1.5, 0.9), 0.5), ((-0.6, -1.2, 3.6), 0.6)]
_MOVER_RADIUS = 0.55


@dataclass(frozen=True)
class SyntheticClip:
    """`frame_count` frames of a camera with square pixels whose centers are at +0.5."""

    frame_count: int
    height: int
    width: int
    focal: float
    world_from_camera: np.ndarray  #: (N, 4, 4)
    z_depth: np.ndarray  #: (N, H, W) float32
    moving: np.ndarray  #: (N, H, W) bool

    @classmethod
    def make(
        cls, frame_count: int, height: int, width: int, *, focal: float | None = None, moving_ball: bool = True
    ) -> "SyntheticClip":
        focal = 0.9 * width if focal is None else focal
        poses = np.stack([_pose(i / max(frame_count - 1, 1)) for i in range(frame_count)])
        views = [_look(poses[i], i / frame_count, height, width, focal, moving_ball) for i in range(frame_count)]
        depth, moving = (np.stack(maps) for maps in zip(*views, strict=True))
        return cls(frame_count, height, width, focal, poses, depth, moving)

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3)."""
        return np.array([[self.focal, 0.0, self.width / 2], [0.0, self.focal, self.height / 2], [0.0, 0.0, 1.0]])

    def camera_points(self, frame: int) -> np.ndarray:
        """Points (H, W, 3) float32 in the camera's frame."""
        return _rays(self.height, self.width, self.focal) * self.z_depth[frame][..., None]

    def flow(self, source: int, target: int) -> np.ndarray:
        """The flow (H, W, 2) float32 that the camera's motion gives a still world."""
        relative = np.linalg.inv(self.world_from_camera[target]) @ self.world_from_camera[source]
        relative = relative.astype(np.float32)
        seen = self.camera_points(source) @ relative[:3, :3].T + relative[:3, 3]
        start = _rays(self.height, self.width, self.focal)
        return (seen[..., :2] / seen[..., 2:] - start[..., :2]) * np.float32(self.focal)

    def fill(self, predictions: PairPredictions, *, noise: float = 0.0, seed: int = 0) -> None:
        """Stores pointmaps of all pairs, each in its own unit; `noise` is that of points relative to their depth.
        Confidences lie between 2 and 12, lower where noise is larger."""
        rng = np.random.default_rng(seed)
        shape = self.height, self.width
        for pair, (i, j) in enumerate(predictions.edges.tolist()):
            relative = (np.linalg.inv(self.world_from_camera[i]) @ self.world_from_camera[j]).astype(np.float32)
            scale = np.float32(np.exp(rng.normal(0.0, 0.3)))
            views = []
            for points in (self.camera_points(i), self.camera_points(j) @ relative[:3, :3].T + relative[:3, 3]):
                confidence = rng.random(shape, np.float32) * 10 + 2
                if noise:
                    error = rng.standard_normal((*shape, 3), np.float32)
                    points = points * (1 + error * (np.float32(4 * noise) / confidence)[..., None])
                views.append((points * scale, confidence))
            motion = [np.clip(self.moving[k] * 0.8 + 0.1, 0.0, 1.0).astype(np.float32) for k in (i, j)]
            predictions.store(pair, *views[0], *views[1], *(motion if predictions.motion is not None else ()))


def _pose(progress: float) -> np.ndarray:
    pose = np.eye(4)
    turn = [0.05 * np.sin(5.0 * progress), 0.5 * (progress - 0.5), 0.04 * np.cos(4.0 * progress)]
    pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    pose[:3, 3] = [1.6 * (progress - 0.5), 0.2 * np.sin(6.0 * progress), -3.0 + 0.6 * progress]
    return pose


@lru_cache(maxsize=4)
def _rays(height: int, width: int, focal: float) -> np.ndarray:
    v, u = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([u + 0.5 - width / 2, v + 0.5 - height / 2, np.full_like(u, focal)], axis=-1)
    return rays / np.float32(focal)


def _look(
    pose: np.ndarray, time: float, height: int, width: int, focal: float, moving_ball: bool
) -> tuple[np.ndarray, np.ndarray]:
    """z depth of the nearest surface and where it belongs to the moving ball. Rays have z = 1, so that the length
    along them is z depth."""
    directions = _rays(height, width, focal).astype(np.float64) @ pose[:3, :3].T
    origin = pose[:3, 3]
    with np.errstate(divide="ignore"):
        walls = (np.sign(directions) * _ROOM - origin) / directions
    depth = np.nanmin(np.where(walls > 0, walls, np.inf), axis=-1)
    for center, radius in _BALLS:
        depth = np.minimum(depth, _ball(origin, directions, np.array(center), radius))
    moving = np.zeros(depth.shape, bool)
    if moving_ball:
        mover = _ball(origin, directions, np.array([-1.0 + 2.0 * time, 0.2, 1.2]), _MOVER_RADIUS)
        moving = mover < depth
        depth = np.minimum(depth, mover)
    return depth.astype(np.float32), moving


def _ball(origin: np.ndarray, directions: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    offset = origin - center
    a = (directions**2).sum(axis=-1)
    b = directions @ offset
    root = b * b - a * (offset @ offset - radius * radius)
    distance = (-b - np.sqrt(np.maximum(root, 0.0))) / a
    return np.where((root > 0) & (distance > 0), distance, np.inf)

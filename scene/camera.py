"""A pinhole camera with its pose.

Axes are OpenCV's (x right, y down, z forward). Pixel centers are at +0.5: the image spans [0, W] x [0, H], so the
pixel in column u and row v is at (u + 0.5, v + 0.5). Matrices are named `a_from_b`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from scene.rotations import affine_matrix


def focal_length(width: float, field_of_view: float) -> float:
    """Focal length in pixels of an image of `width` pixels with a horizontal `field_of_view` in degrees."""
    return width / 2 / math.tan(math.radians(field_of_view) / 2)


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics in pixels of a `width` x `height` image, and `world_from_camera`, a rigid 4x4 float64."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_from_camera: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.asarray(self.world_from_camera, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError(f"world_from_camera must be 4x4, not {matrix.shape}")
        object.__setattr__(self, "world_from_camera", matrix)

    @staticmethod
    def from_intrinsics(width: int, height: int, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> "Camera":
        """The camera with the 3x3 matrix `intrinsics`, in pixels of a `width` x `height` image."""
        fx, fy, cx, cy = (float(intrinsics[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return Camera(width, height, fx, fy, cx, cy, world_from_camera)

    @property
    def intrinsics(self) -> np.ndarray:
        """The 3x3 matrix that takes camera points to homogeneous pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def camera_from_world(self) -> np.ndarray:
        """The inverse of `world_from_camera`, 4x4."""
        rotation = self.world_from_camera[:3, :3].T
        return affine_matrix(rotation, -rotation @ self.world_from_camera[:3, 3])

    @property
    def center(self) -> np.ndarray:
        """The camera's place in the world, (3,)."""
        return self.world_from_camera[:3, 3]

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera for its image resized to `width` x `height`."""
        x_scale, y_scale = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * x_scale,
            fy=self.fy * y_scale,
            cx=self.cx * x_scale,
            cy=self.cy * y_scale,
        )

    def moved(self, world_from_camera: np.ndarray) -> "Camera":
        """The same intrinsics at another pose."""
        return replace(self, world_from_camera=world_from_camera)

    def project(self, world_points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 2) and z depths (N,) of world points (N, 3); points behind the camera get a z below zero."""
        camera_from_world = self.camera_from_world
        points = world_points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        z = points[:, 2]
        safe = np.where(np.abs(z) < 1e-12, 1e-12, z)
        pixels = np.stack([self.fx * points[:, 0] / safe + self.cx, self.fy * points[:, 1] / safe + self.cy], axis=1)
        return pixels, z

    def unproject_pixels(self, columns: np.ndarray, rows: np.ndarray, z_depths: np.ndarray) -> np.ndarray:
        """World points (N, 3) of the centers of pixels at `columns` (N,) and `rows` (N,) with z depths (N,)."""
        x = (columns + 0.5 - self.cx) / self.fx * z_depths
        y = (rows + 0.5 - self.cy) / self.fy * z_depths
        return np.stack([x, y, z_depths], axis=1) @ self.world_from_camera[:3, :3].T + self.world_from_camera[:3, 3]

    def unproject(self, z_depth: np.ndarray) -> np.ndarray:
        """World points (H, W, 3) of a depth map (H, W) at this camera's size."""
        height, width = z_depth.shape
        u = (np.arange(width) + 0.5 - self.cx) / self.fx
        v = (np.arange(height) + 0.5 - self.cy) / self.fy
        rays = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
        points = rays * z_depth[..., None]
        return points @ self.world_from_camera[:3, :3].T + self.world_from_camera[:3, 3]


def cameras_of(width: int, height: int, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> list[Camera]:
    """Cameras with images of `width` x `height` pixels, `intrinsics` (N, 3, 3) and poses (N, 4, 4)."""
    pairs = zip(intrinsics, world_from_camera, strict=True)
    return [Camera.from_intrinsics(width, height, matrix, pose) for matrix, pose in pairs]

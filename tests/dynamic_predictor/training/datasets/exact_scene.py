"""A world of planes whose depth and colors are known exactly, seen by cameras that move past it."""

from dataclasses import dataclass

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48
#: a crop of this size about the principal point needs no scaling, so that depth stays exact
EXACT = (60, 44)
FRAMES = 12
_FOCAL = (58.0, 61.0)
#: pixel centers at +0.5
_PRINCIPAL = (30.0, 22.0)


@dataclass(frozen=True)
class View:
    """`rgb` uint8 (H, W, 3), `z_depth` float32 (H, W), infinite in the sky, pose (4, 4) with axes of OpenCV."""

    rgb: np.ndarray
    z_depth: np.ndarray
    world_from_camera: np.ndarray

    @property
    def sky(self) -> np.ndarray:
        return np.isinf(self.z_depth)

    def known(self, sky: float = 0.0) -> np.ndarray:
        """The depth with `sky` in place of infinity."""
        return np.where(self.sky, np.float32(sky), self.z_depth)


def intrinsics(centers: float = 0.5) -> np.ndarray:
    """The matrix; pixel centers are at integers (`centers` = 0) or at +0.5."""
    matrix = np.array([[_FOCAL[0], 0, _PRINCIPAL[0]], [0, _FOCAL[1], _PRINCIPAL[1]], [0, 0, 1.0]])
    matrix[:2, 2] += centers - 0.5
    return matrix


def distance_to_surface(points: np.ndarray) -> np.ndarray:
    """For world points (..., 3): how far they are from the nearest surface."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.minimum(np.abs(y - 1.0), np.abs(z - 5.0 - 0.3 * x) / np.hypot(1.0, 0.3))


def colors(points: np.ndarray) -> np.ndarray:
    """Smooth colors uint8 (..., 3) of world points."""
    waves = np.sin(points * np.array([1.3, 2.1, 0.9]) + np.array([0.3, 1.0, 2.0]))
    return np.rint(127.5 + 100 * waves).astype(np.uint8)


def cast(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """How many times each ray (..., 3) from `origin` has to be taken to the first surface, infinite for none."""
    with np.errstate(divide="ignore"):
        floor = (1.0 - origin[1]) / rays[..., 1]
        wall = (5.0 + 0.3 * origin[0] - origin[2]) / (rays[..., 2] - 0.3 * rays[..., 0])
    # the wall ends at a height of 1
    wall[origin[1] + wall * rays[..., 1] < -1.0] = np.inf
    return np.minimum(np.where(floor > 0, floor, np.inf), np.where(wall > 0, wall, np.inf))


def render(pose: np.ndarray, camera_rays: np.ndarray) -> View:
    """What a camera sees along rays (H, W, 3) in its own frame whose z is 1."""
    rays = camera_rays @ pose[:3, :3].T
    z_depth = cast(pose[:3, 3], rays)
    points = pose[:3, 3] + np.where(np.isinf(z_depth), 0.0, z_depth)[..., None] * rays
    rgb = np.where(np.isinf(z_depth)[..., None], np.uint8(230), colors(points))
    return View(rgb, z_depth.astype(np.float32), pose)


def pinhole_rays(matrix: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Rays (H, W, 3) through pixel centers at +0.5."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(matrix).T


def pose_of(number: float, scene: int = 0) -> np.ndarray:
    """World from camera of view `number`, which need not be whole."""
    rotation, _ = cv2.Rodrigues(np.array([-0.08 + 0.01 * scene, 0.02 * number - 0.1, 0.015 * number]))
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = [0.15 * number - 0.8, 0.02 * number - 0.1 * scene, -0.05 * number]
    return pose


def view(number: int, scene: int = 0) -> View:
    """View `number` of a scene; scenes differ in the path of their cameras."""
    return render(pose_of(number, scene), pinhole_rays(intrinsics()))


def views(scene: int = 0) -> list[View]:
    return [view(number, scene) for number in range(FRAMES)]

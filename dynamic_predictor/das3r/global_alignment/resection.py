"""The pose of a camera from the world points of its pixels: perspective-n-point inside RANSAC (OpenCV's SQPnP: Terzakis
and Lourakis, "A consistently fast and globally optimal solution to the PnP problem", ECCV 2020)."""

import cv2
import numpy as np


def resect(
    points: np.ndarray,
    mask: np.ndarray,
    focal: float,
    principal_point: tuple[float, float] | None = None,
    *,
    pixel_offset: float = 0.0,
    iterations: int = 10,
) -> np.ndarray | None:
    """The pose world_from_camera (4, 4) float64 of the camera with focal length `focal` in pixels whose pixels show the
    world points `points` (H, W, 3), estimated from those in `mask` (H, W); None if there is no solution.

    Inliers of RANSAC reproject within 5 pixels. Pixel (u, v) lies at (u + `pixel_offset`, v +
    `pixel_offset`); the principal point defaults to the image center."""
    height, width, _ = points.shape
    cx, cy = principal_point or (width / 2.0, height / 2.0)
    usable = np.asarray(mask, bool) & np.isfinite(points).all(axis=-1)
    if np.count_nonzero(usable) < 4 or not (np.isfinite(focal) and focal > 0):
        return None
    object_points = np.ascontiguousarray(points[usable], np.float32)
    rows, columns = np.nonzero(usable)
    pixels = np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(pixel_offset)
    matrix = np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]], np.float32)
    try:
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            object_points,
            pixels,
            matrix,
            None,  # pyright: ignore[reportArgumentType, reportCallIssue]
            iterationsCount=iterations,
            reprojectionError=5.0,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:  # degenerate points
        return None
    if not found or inliers is None or not len(inliers):
        return None
    camera_from_world = cv2.Rodrigues(rotation)[0]
    pose = np.eye(4)
    pose[:3, :3] = camera_from_world.T
    pose[:3, 3] = -camera_from_world.T @ translation.ravel()
    return pose if np.isfinite(pose).all() else None

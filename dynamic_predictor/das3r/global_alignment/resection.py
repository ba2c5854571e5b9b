"""The pose of a camera from the points that its pixels show: perspective-n-point inside RANSAC (OpenCV's SQPnP:
Terzakis and Lourakis, "A consistently fast and globally optimal solution to the PnP problem", ECCV 2020)."""

import cv2
import numpy as np

#: focal lengths that are tried when none is known, relative to the longer side
_TENTATIVE = np.geomspace(0.5, 3.0, 21)


def resect(
    points: np.ndarray,
    mask: np.ndarray,
    focal: float | None = None,
    principal_point: tuple[float, float] | None = None,
    *,
    pixel_offset: float = 0.0,
    iterations: int = 10,
    threshold: float = 5.0,
) -> tuple[float, np.ndarray] | None:
    """The focal length in pixels and world_from_camera (4, 4) float64 of the camera whose pixels show world points
    `points` (H, W, 3), by those in `mask` (H, W); None if there is no answer. Without `focal`, 21 lengths from half to
    three times the longer side are tried, and the one with the most points within `threshold` pixels wins. Pixel (u, v)
    is at (u + `pixel_offset`, v + `pixel_offset`)."""
    height, width, _ = points.shape
    cx, cy = principal_point or (width / 2.0, height / 2.0)
    usable = np.asarray(mask, bool) & np.isfinite(points).all(axis=-1)
    if np.count_nonzero(usable) < 4:
        return None
    object_points = np.ascontiguousarray(points[usable], np.float32)
    rows, columns = np.nonzero(usable)
    pixels = np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(pixel_offset)
    best: tuple[int, float, np.ndarray, np.ndarray] | None = None
    for candidate in [focal] if focal is not None else _TENTATIVE * max(height, width):
        if not (np.isfinite(candidate) and candidate > 0):
            continue
        matrix = np.array([[candidate, 0.0, cx], [0.0, candidate, cy], [0.0, 0.0, 1.0]], np.float32)
        try:
            found, rotation, translation, inliers = cv2.solvePnPRansac(
                object_points,
                pixels,
                matrix,
                None,  # pyright: ignore[reportArgumentType, reportCallIssue]
                iterationsCount=iterations,
                reprojectionError=threshold,
                flags=cv2.SOLVEPNP_SQPNP,
            )
        except cv2.error:  # degenerate points
            continue
        if found and inliers is not None and len(inliers) > (best[0] if best else 0):
            best = len(inliers), float(candidate), rotation, translation
    if best is None:
        return None
    _, best_focal, rotation, translation = best
    camera_from_world = cv2.Rodrigues(rotation)[0]
    pose = np.eye(4)
    pose[:3, :3] = camera_from_world.T
    pose[:3, 3] = -camera_from_world.T @ translation.ravel()
    return (best_focal, pose) if np.isfinite(pose).all() else None

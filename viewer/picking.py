"""From a click in the window to a point of the scene or a pixel of a frame."""

import numpy as np

from scene.camera import Camera

#: a point is hit if the ray passes it within this angle in radians
_ANGLE = 0.012


def picked_point(origin: np.ndarray, direction: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """The nearest of `points` (N, 3) that the ray from `origin` along `direction` hits; None when it hits none.

    Of the points near the ray, the first are those within 5 % of the nearest depth; of these, the one closest to the
    ray counts.
    """
    direction = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    offsets = np.asarray(points, np.float64) - np.asarray(origin, np.float64)
    depth = offsets @ direction
    across = np.linalg.norm(offsets - depth[:, None] * direction, axis=1)
    hit = np.flatnonzero((depth > 0) & (across <= _ANGLE * depth))
    if not len(hit):
        return None
    first = hit[depth[hit] <= 1.05 * depth[hit].min()]
    return np.asarray(points[first[np.argmin(across[first] / depth[first])]], np.float64)


def pixel_of_ray(camera: Camera, origin: np.ndarray, direction: np.ndarray, distance: float) -> np.ndarray | None:
    """Where a ray of the world meets the picture of `camera` that stands at `distance` in front of it: (x, y) in
    pixels, also beside the picture; None when it does not meet its plane."""
    rotation = camera.world_from_camera[:3, :3]
    start = (np.asarray(origin, np.float64) - camera.center) @ rotation
    along = np.asarray(direction, np.float64) @ rotation
    if abs(along[2]) < 1e-12:
        return None
    share = (distance - start[2]) / along[2]
    if share <= 0:
        return None
    x, y = (start + share * along)[:2] / distance
    return np.array([camera.fx * x + camera.cx, camera.fy * y + camera.cy])

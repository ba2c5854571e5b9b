"""Given points, such as those of COLMAP, as the first Gaussians.

As in 3DGS (Kerbl et al., SIGGRAPH 2023), the extent of each is that of the distances to its three nearest neighbors; it
is bounded by pixels of the images that show it, so that lonely points do not become blots.
"""

import numpy as np
from scipy.spatial import KDTree

from scene.camera import Camera
from scene.maps import FrameMaps
from scene.scene import PointCloud

_NEIGHBORS = 3
#: smallest and largest standard deviation in pixels of a frame of 512 pixels
_SMALLEST, _LARGEST = 0.55, 4.5


def start_points(
    points: PointCloud, cameras: list[Camera], motion_masks: FrameMaps | None, frames: list[int], most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (N, 3), colors (N, 3) float32 in [0, 1] and standard deviations (N,) of at most `most` of the points:
    those that some of `frames` show, in most of them outside of what moves. `cameras` and `motion_masks` are of all
    frames."""
    positions, colors = np.asarray(points.positions, np.float64), points.colors
    if len(positions) > most:
        chosen = np.linspace(0, len(positions) - 1, most).round().astype(np.int64)
        positions, colors = positions[chosen], colors[chosen]
    seen, moving = np.zeros(len(positions), np.int64), np.zeros(len(positions), np.int64)
    pixel = np.full(len(positions), np.inf)
    for index in frames:
        camera = cameras[index]
        pixels, z = camera.project(positions)
        columns, rows = np.floor(np.clip(np.nan_to_num(pixels), -1e9, 1e9)).astype(np.int64).T
        inside = (z > 0) & (columns >= 0) & (rows >= 0) & (columns < camera.width) & (rows < camera.height)
        inside = np.flatnonzero(inside)
        seen[inside] += 1
        pixel[inside] = np.minimum(pixel[inside], z[inside] / camera.fx)
        if motion_masks is not None:
            moving[inside] += motion_masks[index][rows[inside], columns[inside]] >= 0.5
    kept = (seen > 0) & (2 * moving <= seen)
    positions, colors, pixel = positions[kept], colors[kept], pixel[kept]
    unit = max(cameras[0].width, cameras[0].height) / 512 * pixel
    radii = np.clip(_neighbor_distances(positions), _SMALLEST * unit, _LARGEST * unit)
    return positions, colors.astype(np.float32) / 255, radii


def _neighbor_distances(positions: np.ndarray) -> np.ndarray:
    """The root mean square distance (N,) to the nearest neighbors; infinite for a single point."""
    count = min(_NEIGHBORS, len(positions) - 1)
    if count < 1:
        return np.full(len(positions), np.inf)
    distances, _ = KDTree(positions).query(positions, k=count + 1)
    return np.sqrt(np.mean(distances[:, 1:] ** 2, axis=1))

"""Coarse motion masks refined by geometry: what agrees with the frames that it is reprojected into is static after all
(Hu et al., "VGGT4D", 2025, refinement by reprojection, as in its released code)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.attention_motion.clusters import feature_clusters

#: clusters of the moving points of a frame
_CLUSTERS = 30
#: residual, of depth in median depths plus mean of RGB in [0, 1], above which a cluster moves
_LARGEST_RESIDUAL = 0.1
#: share of reprojections of a cluster that must be seen on static ground; with fewer, it counts as moving
_LEAST_SEEN = 0.05
#: in median depths: how far behind a surface a point is still seen
_DEPTH_MARGIN = 0.01
_NEIGHBORS, _OUTLIER_DEVIATIONS = 20, 2.5


@dataclass(frozen=True)
class GeometryOfClip:
    """What the refinement needs of F frames of one size: `images` (F, H, W, 3) RGB in [0, 1], `z_depth` (F, H, W), 0 =
    unknown, `intrinsics` (F, 3, 3) in pixels, `world_from_camera` (F, 4, 4)."""

    images: np.ndarray
    z_depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray


def refined_by_reprojection(masks: np.ndarray, clip: GeometryOfClip, *, seed: int = 0) -> np.ndarray:
    """Masks (F, H, W) bool of what moves, a part of the coarse `masks` (F, H, W) bool but for a border of a pixel.

    The moving points of a frame, without outliers (mean distance to 20 neighbors above its mean by 2.5 deviations), are
    clustered by position. Each is reprojected into all other frames. Where it is seen there on static ground, its
    residual is the difference of depths in units of the clip's median depth, plus the mean difference of colors. A
    cluster moves if its mean residual is above 0.1, or if it is hardly ever seen on static ground.
    """
    known = clip.z_depth[clip.z_depth > 0]
    if len(masks) < 2 or known.size == 0:
        return masks.copy()
    unit = float(np.median(known))
    refined = np.zeros_like(masks)
    for frame in range(len(masks)):
        rows, columns = np.nonzero(masks[frame] & (clip.z_depth[frame] > 0))
        points = world_points(clip, frame, rows, columns)
        kept = _without_outliers(points, _all_points(clip, frame))
        rows, columns, points = rows[kept], columns[kept], points[kept]
        if len(points) == 0:
            continue
        labels = feature_clusters((points / unit).astype(np.float32), _CLUSTERS, seed=seed)
        colors = clip.images[frame][rows, columns]
        moves = _moving_clusters(masks, clip, frame, points, colors, labels, unit)
        chosen = np.zeros(masks.shape[1:], np.uint8)
        chosen[rows, columns] = moves[labels]
        chosen = cv2.morphologyEx(chosen, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
        refined[frame] = cv2.dilate(chosen, np.ones((3, 3), np.uint8)) > 0
    return refined


def world_points(clip: GeometryOfClip, frame: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The points (N, 3) in the world at the centers of pixels of `frame`."""
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    in_camera = pixels @ np.linalg.inv(clip.intrinsics[frame]).T * clip.z_depth[frame][rows, columns][:, None]
    pose = clip.world_from_camera[frame]
    return in_camera @ pose[:3, :3].T + pose[:3, 3]


def _all_points(clip: GeometryOfClip, frame: int) -> np.ndarray:
    return world_points(clip, frame, *np.nonzero(clip.z_depth[frame] > 0))


def _without_outliers(points: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Which of `points` (N, 3) lie close to their neighbors on the `surface` (M, 3) that they are part of."""
    if len(points) == 0:
        return np.zeros(0, bool)
    distances = KDTree(surface).query(points, k=min(_NEIGHBORS, len(surface)))[0].reshape(len(points), -1).mean(axis=1)
    return distances <= distances.mean() + _OUTLIER_DEVIATIONS * distances.std() + 1e-12


def _moving_clusters(
    masks: np.ndarray,
    clip: GeometryOfClip,
    frame: int,
    points: np.ndarray,
    colors: np.ndarray,
    labels: np.ndarray,
    unit: float,
) -> np.ndarray:
    """Whether each of the clusters moves, (clusters,) bool."""
    count = labels.max() + 1
    sums, seen_counts = np.zeros(count), np.zeros(count)
    others = [other for other in range(len(masks)) if other != frame]
    for seen, residual in _residuals(masks, clip, others, points, colors, unit):
        seen_counts += np.bincount(labels[seen], minlength=count)
        sums += np.bincount(labels[seen], residual, minlength=count)
    total = np.bincount(labels, minlength=count) * len(others)
    mean = sums / np.maximum(seen_counts, 1)
    return (mean > _LARGEST_RESIDUAL) | (seen_counts < _LEAST_SEEN * total)


def _residuals(
    masks: np.ndarray, clip: GeometryOfClip, others: Sequence[int], points: np.ndarray, colors: np.ndarray, unit: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each other frame, which points are seen there on static ground (N,) bool, and the residuals of those."""
    height, width = masks.shape[1:]
    for other in others:
        camera_from_world = np.linalg.inv(clip.world_from_camera[other])
        in_camera = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        depth = in_camera[:, 2]
        projected = in_camera @ clip.intrinsics[other].T
        place = projected[:, :2] / np.where(depth > 0, depth, 1.0)[:, None]
        inside = (depth > 0) & (place >= 0).all(axis=1) & (place < [width, height]).all(axis=1)
        column, row = np.where(inside[:, None], place, 0).astype(int).T
        surface = clip.z_depth[other][row, column]
        seen = inside & (surface > 0) & ~masks[other][row, column] & (depth - _DEPTH_MARGIN * unit < surface)
        color = np.abs(clip.images[other][row, column] - colors).mean(axis=1)
        yield seen, (np.abs(depth - surface) / unit + color)[seen]

"""Nearest-neighbor distances between point clouds in bounded time and memory, for any prediction.

A search tree is slow for a query point that is about equally far from all of its points, as in the center of a surface
that was predicted far too large. Therefore near neighbors are searched exactly, for each point, while distant points
are merged into cells whose size grows with the distance.
"""

import numpy as np
import torch
from scipy.spatial import KDTree

from scene.progress import Progress, ignore_progress

#: query points per call of the search tree; progress is reported and signals are handled between calls
BATCH = 50_000
#: side of the cells that merge distant points, as a fraction of their distance
_CELL = 1 / 32


def near_distances(
    points: np.ndarray,
    others: np.ndarray | KDTree,
    limit: float,
    *,
    progress: Progress = ignore_progress,
    stage: str = "measuring distances",
) -> np.ndarray:
    """The distance (N,) from each point (N, 3) to the nearest of `others` (M, 3); infinite from `limit` on."""
    tree = others if isinstance(others, KDTree) else KDTree(others)
    distances = np.empty(len(points))
    for start in range(0, len(points), BATCH):
        batch = slice(start, start + BATCH)
        distances[batch] = tree.query(
            points[batch], distance_upper_bound=limit, workers=max(1, torch.get_num_threads())
        )[0]
        progress(stage, min(start + BATCH, len(points)), len(points))
    return distances


def all_distances(
    points: np.ndarray,
    others: np.ndarray,
    exact: float,
    *,
    progress: Progress = ignore_progress,
    stage: str = "measuring distances",
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (K,) from points (N, 3) to the nearest of `others` (M, 3), and the number of points (K,) with each.

    Distances below `exact` are exact, one per point. Farther points are merged into cells that are small compared with
    the distance; all points of a cell get the distance of their mean.
    """
    tree = KDTree(others)
    weights = np.ones(len(points))
    known_distances, counts = [], []
    limit = exact
    while True:
        distances = near_distances(points, tree, limit, progress=progress, stage=stage)
        known = np.isfinite(distances)
        known_distances.append(distances[known])
        counts.append(weights[known])
        points, weights = points[~known], weights[~known]
        if not len(points):
            return np.concatenate(known_distances), np.concatenate(counts)
        points, weights = merge_cells(points, limit * _CELL, weights)
        limit *= 2


def merge_cells(points: np.ndarray, size: float, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean (K, 3) of the points (N, 3) in each occupied cell of a grid, and the sum of their `weights`
    (K,). The first cell of the grid is centered on the lowest corner of the points."""
    cells = np.floor((points - points.min(axis=0)) / size + 0.5)
    counts = cells.max(axis=0) + 1
    if np.prod(counts) < 2.0**62:  # a single number per cell makes `np.unique` several times faster
        numbers = np.ravel_multi_index(tuple(cells.astype(np.int64).T), tuple(int(count) for count in counts))
        cell = np.unique(numbers, return_inverse=True)[1]
    else:
        cell = np.unique(cells, axis=0, return_inverse=True)[1]
    cell = cell.ravel()
    total = np.bincount(cell, weights)
    sums = np.stack([np.bincount(cell, points[:, axis] * weights) for axis in range(3)], axis=1)
    return sums / total[:, None], total

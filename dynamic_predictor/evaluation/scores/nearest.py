"""Distances from points to their nearest neighbours in bounded time and memory, whatever a network came up with.

A search tree has to look at nearly all of its points for a query that is about as far from all of them, such as a room
in the middle of a far too distant surface. So near neighbours are searched exactly and point by point; what is farther
off is thinned the more the farther it is.
"""

import numpy as np
import torch
from scipy.spatial import KDTree

from scene.progress import Progress, ignore_progress

#: queries at a time, between which progress is told and signals are heard
PIECE = 50_000
#: side of the cells in which far points are taken together, as a part of their distance
_CELL = 1 / 32


def near_distances(
    points: np.ndarray,
    others: np.ndarray | KDTree,
    limit: float,
    *,
    progress: Progress = ignore_progress,
    stage: str = "measuring distances",
) -> np.ndarray:
    """The distance (N,) of each point (N, 3) to the nearest of the others (M, 3), infinite from `limit` on."""
    tree = others if isinstance(others, KDTree) else KDTree(others)
    distances = np.empty(len(points))
    for start in range(0, len(points), PIECE):
        piece = slice(start, start + PIECE)
        distances[piece] = tree.query(
            points[piece], distance_upper_bound=limit, workers=max(1, torch.get_num_threads())
        )[0]
        progress(stage, min(start + PIECE, len(points)), len(points))
    return distances


def all_distances(
    points: np.ndarray,
    others: np.ndarray,
    exact: float,
    *,
    progress: Progress = ignore_progress,
    stage: str = "measuring distances",
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (K,) of points (N, 3) to the nearest of the others (M, 3), and how many points each stands for (K,).

    Below `exact` every point has its own. Farther off, the points in a cell that is small against the distance share
    the distance of their mean, which is off by far less than the cell is wide.
    """
    tree = KDTree(others)
    weights = np.ones(len(points))
    found, counts = [], []
    limit = exact
    while True:
        distances = near_distances(points, tree, limit, progress=progress, stage=stage)
        known = np.isfinite(distances)
        found.append(distances[known])
        counts.append(weights[known])
        points, weights = points[~known], weights[~known]
        if not len(points):
            return np.concatenate(found), np.concatenate(counts)
        points, weights = merge_cells(points, limit * _CELL, weights)
        limit *= 2


def merge_cells(points: np.ndarray, size: float, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the points (N, 3) with `weights` (N,) in each cell of a grid whose first one is centred on the
    smallest corner, (K, 3), and the sum of their weights (K,); in the order of the cells."""
    cells = np.floor((points - points.min(axis=0)) / size + 0.5)
    counts = cells.max(axis=0) + 1
    if np.prod(counts) < 2.0**62:  # one number per cell is found several times faster than three
        numbers = np.ravel_multi_index(tuple(cells.astype(np.int64).T), tuple(int(count) for count in counts))
        where = np.unique(numbers, return_inverse=True)[1]
    else:
        where = np.unique(cells, axis=0, return_inverse=True)[1]
    where = where.ravel()
    total = np.bincount(where, weights)
    sums = np.stack([np.bincount(where, points[:, axis] * weights) for axis in range(3)], axis=1)
    return sums / total[:, None], total

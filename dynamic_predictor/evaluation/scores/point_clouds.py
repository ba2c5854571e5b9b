"""Scores of a predicted against a true point cloud as in Spann3R and CUT3R: accuracy, completion, normal consistency.

The predicted points are registered first by the iterative closest point algorithm (Besl and McKay, TPAMI 1992). Normals
are the directions of least variance of a point's neighbors (Hoppe et al., SIGGRAPH 1992). Both follow the definitions
of Open3D, which the official evaluations use, without needing it; tests compare with its results.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree

from scene.progress import Progress, ignore_progress
from scene.similarity import Similarity, align_points

#: points that are handled at once; progress is reported and signals are handled in between
_BATCH = 50_000
#: registration ends when the share of matched points and their root mean square distance change by less
_CONVERGED = 1e-6


@dataclass(frozen=True)
class PointCloudScores:
    """Distances in units of the points (smaller is better), and normal consistency in [0, 1] (larger is better)."""

    #: distances from predicted points to the nearest true ones
    accuracy: float
    accuracy_median: float
    #: distances from true points to the nearest predicted ones
    completion: float
    completion_median: float
    #: |cosine| of the angle between the normals of predicted points and of the nearest true ones
    normals_of_predicted: float
    normals_of_predicted_median: float
    #: |cosine| of the angle between the normals of true points and of the nearest predicted ones
    normals_of_true: float
    normals_of_true_median: float
    #: mean of the two directions
    normal_consistency: float
    normal_consistency_median: float
    predicted_points: int
    true_points: int


def score_point_clouds(
    predicted: np.ndarray,
    true: np.ndarray,
    predicted_normals: np.ndarray,
    true_normals: np.ndarray,
    *,
    progress: Progress = ignore_progress,
) -> PointCloudScores:
    """Scores of predicted points (N, 3) against true ones (M, 3) with their unit normals. Raises `ValueError` for an
    empty cloud."""
    if not len(predicted) or not len(true):
        raise ValueError("an empty point cloud cannot be scored")
    distances, nearest = _nearest(KDTree(true), predicted, progress, "measuring accuracy")
    back, nearest_back = _nearest(KDTree(predicted), true, progress, "measuring completion")
    forward_cosines = np.abs((true_normals[nearest] * predicted_normals).sum(axis=1))
    back_cosines = np.abs((true_normals * predicted_normals[nearest_back]).sum(axis=1))
    forward = float(forward_cosines.mean()), float(np.median(forward_cosines))
    backward = float(back_cosines.mean()), float(np.median(back_cosines))
    return PointCloudScores(
        float(distances.mean()),
        float(np.median(distances)),
        float(back.mean()),
        float(np.median(back)),
        *forward,
        *backward,
        normal_consistency=(forward[0] + backward[0]) / 2,
        normal_consistency_median=(forward[1] + backward[1]) / 2,
        predicted_points=len(predicted),
        true_points=len(true),
    )


def completion_ratio(predicted: np.ndarray, true: np.ndarray, limit: float = 0.05) -> float:
    """The share of true points (M, 3) that have a predicted one (N, 3) nearer than `limit`."""
    return float((_nearest(KDTree(predicted), true)[0] < limit).mean())


def register(
    predicted: np.ndarray,
    true: np.ndarray,
    limit: float = 0.1,
    *,
    iterations: int = 30,
    progress: Progress = ignore_progress,
) -> Similarity:
    """The rigid motion that registers predicted points (N, 3) with true ones (M, 3): the nearest true point of each, if
    nearer than `limit`, is its match, and the motion minimizes the squares of their distances, again and again. Without
    any match nothing is moved."""
    tree, moved, motion = KDTree(true), np.asarray(predicted, np.float64), Similarity.identity()
    matched, target, quality = _matches(tree, moved, limit)
    for done in range(iterations):
        progress("registering points", done, iterations)
        if not len(target):
            break
        step = align_points(moved[matched], tree.data[target], with_scale=False)
        moved, motion = step.apply_to_points(moved), step @ motion
        before = quality
        matched, target, quality = _matches(tree, moved, limit)
        if abs(before[0] - quality[0]) < _CONVERGED and abs(before[1] - quality[1]) < _CONVERGED:
            break
    return motion


def normals_of(points: np.ndarray, neighbors: int = 30, *, progress: Progress = ignore_progress) -> np.ndarray:
    """Unit normals (N, 3) of points (N, 3), of either sign: the eigenvector of the smallest eigenvalue of the
    covariance of the nearest `neighbors` points, the point itself included. With fewer than three points, (0, 0, 1)."""
    normals = np.tile([0.0, 0.0, 1.0], (len(points), 1))
    if len(points) < 3:
        return normals
    points = np.asarray(points, np.float64)
    tree, count = KDTree(points), min(neighbors, len(points))
    for start in range(0, len(points), _BATCH):
        batch = slice(start, start + _BATCH)
        near = points[np.asarray(tree.query(points[batch], k=count, workers=_threads())[1])]
        near = near - near.mean(axis=1, keepdims=True)
        normals[batch] = np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][:, :, 0]
        progress("estimating normals", min(start + _BATCH, len(points)), len(points))
    return normals


def _matches(tree: KDTree, points: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Indices (K,) of the points with a match, indices (K,) of their matches, and the share of points with a match and
    the root mean square of their distances."""
    found = tree.query(points, distance_upper_bound=limit, workers=_threads())
    distances, nearest = np.asarray(found[0]), np.asarray(found[1])
    matched = np.flatnonzero(np.isfinite(distances))
    error = float(np.sqrt((distances[matched] ** 2).mean())) if len(matched) else 0.0
    return matched, nearest[matched], (len(matched) / max(len(points), 1), error)


def _nearest(
    tree: KDTree, points: np.ndarray, progress: Progress = ignore_progress, stage: str = "measuring distances"
) -> tuple[np.ndarray, np.ndarray]:
    distances, nearest = np.empty(len(points)), np.empty(len(points), np.int64)
    for start in range(0, len(points), _BATCH):
        batch = slice(start, start + _BATCH)
        distances[batch], nearest[batch] = tree.query(points[batch], workers=_threads())
        progress(stage, min(start + _BATCH, len(points)), len(points))
    return distances, nearest


def _threads() -> int:
    return max(1, torch.get_num_threads())

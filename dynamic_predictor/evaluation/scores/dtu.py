"""Surface scores on DTU (Aanaes et al., IJCV 2016) as in Depth Anything 3's benchmark; lengths are in mm.

With predicted cameras, each pixel becomes a point. With true cameras, a point is kept only when four views agree on it
within 0.2 mm, as is usual for multi-view stereo. Accuracy is measured on predicted points in the observed volume,
completeness on true points above the table.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.scores.nearest import near_distances
from dynamic_predictor.evaluation.scores.surfaces import SurfaceScores
from scene.camera import Camera
from scene.errors import InputError
from scene.progress import Progress, ignore_progress

_MAX_POINTS = 4_000_000
_CONSISTENT_DISTANCE, _CONSISTENT_VIEWS = 0.2, 4
#: smallest distance between predicted points after thinning
_SPACING = 0.2
#: distances from here on are left out of both means
_OUTLIER = 20.0
#: predicted points farther outside the observed box are dropped; twice this at its upper sides
_BOX_MARGIN = 60.0
_SEED = 42
#: largest number of neighbors listed by one query, which bounds memory
_NEIGHBORS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ObservedVolume:
    """The volume that the scanner observed."""

    #: (X, Y, Z) bool, on a grid of voxels
    observed: np.ndarray
    #: (2, 3), lowest and highest corner of the grid
    box: np.ndarray
    #: mm per voxel
    resolution: float
    #: plane (4,) of the table; its product with (x, y, z, 1) is positive above the table
    table: np.ndarray


def read_observed_volume(folder: Path, scan: int) -> ObservedVolume:
    """Reads ObsMask<scan>_10.mat and Plane<scan>.mat; raises `InputError` when they are missing or unreadable."""
    try:
        mask = loadmat(folder / f"ObsMask{scan}_10.mat")
        table = loadmat(folder / f"Plane{scan}.mat")["P"]
        return ObservedVolume(
            np.asarray(mask["ObsMask"], bool),
            np.asarray(mask["BB"], np.float64),
            float(np.asarray(mask["Res"]).ravel()[0]),
            np.asarray(table, np.float64).ravel()[:4],
        )
    except (OSError, ValueError, KeyError, NotImplementedError, MatReadError) as error:
        raise InputError(f"{folder} has no readable mask and plane of scan {scan}; download DTU again.") from error


def all_points(z_depths: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """World points (K, 3) of all known pixels of depth maps (N, H, W), at most four million, chosen randomly."""
    points = [camera.unproject(depth)[depth > 1e-3] for depth, camera in zip(z_depths, cameras, strict=True)]
    return _subsample(np.concatenate(points))


def consistent_points(z_depths: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """World points (K, 3) of depth maps (N, H, W) on which at least four views agree within 0.2 mm, the view of the
    pixel included: for each such pixel the mean of the views' points. At most four million, chosen randomly."""
    maps = [camera.unproject(depth) for depth, camera in zip(z_depths, cameras, strict=True)]
    consistent = []
    for reference, depth in zip(maps, z_depths, strict=True):
        total, votes = np.zeros(reference.shape), np.zeros(depth.shape)
        for other, other_depth, camera in zip(maps, z_depths, cameras, strict=True):
            pixels, z = camera.project(reference.reshape(-1, 3))
            coordinates = (pixels - 0.5).astype(np.float32).reshape(*depth.shape, 2)
            seen = cv2.remap(
                np.where((other_depth > 0)[..., None], other, np.nan).astype(np.float32),
                coordinates[..., 0],
                coordinates[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(np.nan,) * 3,
            )
            near = np.linalg.norm(seen - reference, axis=-1) < _CONSISTENT_DISTANCE
            near &= (z > 0).reshape(depth.shape) & (depth > 0)
            total[near] += seen[near]
            votes += near
        kept = votes >= _CONSISTENT_VIEWS
        consistent.append(total[kept] / votes[kept][:, None])
    return _subsample(np.concatenate(consistent))


def score_dtu(
    predicted: np.ndarray, true: np.ndarray, volume: ObservedVolume, *, progress: Progress = ignore_progress
) -> SurfaceScores:
    """Accuracy, completeness and their mean, in mm, of predicted points (N, 3) against the scan (M, 3). Precision,
    recall and F-score, which DTU does not define, are NaN."""
    thinned = thin_by_distance(predicted, _SPACING, progress=progress)
    low, high = volume.box
    inside = thinned[((thinned >= low - _BOX_MARGIN) & (thinned < high + 2 * _BOX_MARGIN)).all(axis=1)]
    cells = np.around((inside - low) / volume.resolution).astype(np.int64)
    in_grid = ((cells >= 0) & (cells < volume.observed.shape)).all(axis=1)
    observed = inside[in_grid][volume.observed[tuple(cells[in_grid].T)]]
    above = true[true @ volume.table[:3] + volume.table[3] > 0]
    accuracy = _mean_distance(observed, true, progress, "measuring accuracy")
    completeness = _mean_distance(above, inside, progress, "measuring completeness")
    return SurfaceScores(accuracy, completeness, (accuracy + completeness) / 2, np.nan, np.nan, np.nan)


def thin_by_distance(points: np.ndarray, distance: float, *, progress: Progress = ignore_progress) -> np.ndarray:
    """A subset of the points in which no two are closer than `distance`: points are visited in a fixed random order,
    and each one that is kept removes its neighbors."""
    points = points[np.random.default_rng(_SEED).permutation(len(points))]
    if not len(points):
        return points
    tree = KDTree(points)
    kept = np.ones(len(points), bool)
    start, size = 0, 1
    while start < len(points):
        block = np.arange(start, min(start + size, len(points)))
        block = block[kept[block]]
        neighbors = tree.query_ball_point(points[block], distance)
        for index, close in zip(block, neighbors, strict=True):
            if kept[index]:
                kept[close] = False
                kept[index] = True
        start += size
        # where many points coincide, as in a collapsed prediction, each point has nearly all others as neighbors
        most = max(map(len, neighbors), default=1)
        size = int(np.clip(2 * size, 1, max(1, _NEIGHBORS_AT_ONCE // most)))
        progress("thinning points", min(start, len(points)), len(points))
    return points[kept]


def _mean_distance(points: np.ndarray, others: np.ndarray, progress: Progress, stage: str) -> float:
    if not len(points) or not len(others):
        return np.inf
    distances = near_distances(points, others, _OUTLIER, progress=progress, stage=stage)
    near = distances[np.isfinite(distances)]
    return float(near.mean()) if len(near) else np.inf


def _subsample(points: np.ndarray) -> np.ndarray:
    if len(points) <= _MAX_POINTS:
        return points
    return points[np.random.default_rng(_SEED).choice(len(points), _MAX_POINTS, replace=False)]

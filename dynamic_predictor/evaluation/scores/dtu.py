"""The reconstruction scores of DTU (Aanaes et al., IJCV 2016) as Depth Anything 3's benchmark takes them, in mm.

With predicted cameras every pixel gives a point; with true ones a point must be found in four views within 0.2 mm, as
multi-view stereo is scored. Accuracy counts points in the observed volume, completeness true points above the table.
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
_THINNED_TO = 0.2
#: points farther off than this are no part of either mean
_OUTLIER = 20.0
#: how far outside the observed box points still count as found, below and (twice that) above
_BOX_MARGIN = 60.0
_SEED = 42
#: neighbours that are listed at a time, which bounds memory
_NEIGHBOURS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ObservedVolume:
    """Where the scanner could see: `observed` (X, Y, Z) bool, its `box` (2, 3), `resolution` in mm per voxel, and the
    `table` plane (4,): what is above it has a positive product with (x, y, z, 1)."""

    observed: np.ndarray
    box: np.ndarray
    resolution: float
    table: np.ndarray


def read_observed_volume(folder: Path, scan: int) -> ObservedVolume:
    """ObsMask<scan>_10.mat and Plane<scan>.mat; `InputError` when they are missing or no such files."""
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
        raise InputError(f"{folder} has no mask and plane of scan {scan} that can be read; fetch DTU again.") from error


def all_points(z_depths: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """World points of every known pixel of depth maps (N, H, W), at most four million, drawn evenly."""
    points = [camera.unproject(depth)[depth > 1e-3] for depth, camera in zip(z_depths, cameras, strict=True)]
    return _capped(np.concatenate(points))


def consistent_points(z_depths: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """World points that at least four views have within 0.2 of each other: for every pixel of every view the mean of
    what the views have there (the view itself counts). At most four million, drawn evenly."""
    maps = [camera.unproject(depth) for depth, camera in zip(z_depths, cameras, strict=True)]
    found = []
    for reference, depth in zip(maps, z_depths, strict=True):
        total, votes = np.zeros(reference.shape), np.zeros(depth.shape)
        for other, other_depth, camera in zip(maps, z_depths, cameras, strict=True):
            pixels, z = camera.project(reference.reshape(-1, 3))
            place = (pixels - 0.5).astype(np.float32).reshape(*depth.shape, 2)
            seen = cv2.remap(
                np.where((other_depth > 0)[..., None], other, np.nan).astype(np.float32),
                place[..., 0],
                place[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(np.nan,) * 3,
            )
            near = np.linalg.norm(seen - reference, axis=-1) < _CONSISTENT_DISTANCE
            near &= (z > 0).reshape(depth.shape) & (depth > 0)
            total[near] += seen[near]
            votes += near
        kept = votes >= _CONSISTENT_VIEWS
        found.append(total[kept] / votes[kept][:, None])
    return _capped(np.concatenate(found))


def score_dtu(
    predicted: np.ndarray, true: np.ndarray, volume: ObservedVolume, *, progress: Progress = ignore_progress
) -> SurfaceScores:
    """Accuracy, completeness and their mean in mm of points (N, 3) against the scan (M, 3); DTU has no F-score."""
    thinned = thin_by_distance(predicted, _THINNED_TO, progress=progress)
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
    """Points of which no two are closer than `distance`: in a random order with a fixed seed, each drops its
    neighbours that come later."""
    points = points[np.random.default_rng(_SEED).permutation(len(points))]
    if not len(points):
        return points
    tree = KDTree(points)
    kept = np.ones(len(points), bool)
    start, size = 0, 1
    while start < len(points):
        block = np.arange(start, min(start + size, len(points)))
        block = block[kept[block]]
        found = tree.query_ball_point(points[block], distance)
        for index, neighbours in zip(block, found, strict=True):
            if kept[index]:
                kept[neighbours] = False
                kept[index] = True
        start += size
        # where many points are in one place, as in a prediction that collapsed, one list holds nearly all of them
        most = max(map(len, found), default=1)
        size = int(np.clip(2 * size, 1, max(1, _NEIGHBOURS_AT_ONCE // most)))
        progress("thinning points", min(start, len(points)), len(points))
    return points[kept]


def _mean_distance(points: np.ndarray, others: np.ndarray, progress: Progress, stage: str) -> float:
    if not len(points) or not len(others):
        return np.inf
    distances = near_distances(points, others, _OUTLIER, progress=progress, stage=stage)
    near = distances[np.isfinite(distances)]
    return float(near.mean()) if len(near) else np.inf


def _capped(points: np.ndarray) -> np.ndarray:
    if len(points) <= _MAX_POINTS:
        return points
    return points[np.random.default_rng(_SEED).choice(len(points), _MAX_POINTS, replace=False)]

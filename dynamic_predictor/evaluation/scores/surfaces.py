"""Scores of a point cloud against a true surface: accuracy, completeness, their mean, and the F-score, as in Depth
Anything 3's benchmark (2025; after Knapitsch et al., "Tanks and Temples", 2017).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyParseError

from dynamic_predictor.evaluation.scores.nearest import all_distances, merge_cells
from scene.errors import InputError
from scene.progress import Progress, ignore_progress

#: distances below this multiple of the threshold are exact
_EXACT = 20.0


@dataclass(frozen=True)
class SurfaceScores:
    """Distances in units of the points (smaller is better) and shares in [0, 1] (larger is better)."""

    #: mean distance from predicted points to the truth
    accuracy: float
    #: mean distance from true points to the prediction
    completeness: float
    #: mean of the two
    overall: float
    #: share of predicted points within the threshold of the truth
    precision: float
    #: share of true points within the threshold of the prediction
    recall: float
    #: harmonic mean of precision and recall
    f_score: float


def score_surface(
    predicted: np.ndarray,
    true: np.ndarray,
    threshold: float,
    *,
    voxel_size: float | None = None,
    progress: Progress = ignore_progress,
) -> SurfaceScores:
    """Scores of predicted points (N, 3) against true ones (M, 3), both thinned to one per voxel where `voxel_size` is
    given. An empty prediction gets infinite distances. Distances beyond 20 thresholds have errors of up to 1 %."""
    if voxel_size is not None:
        predicted, true = thin_points(predicted, voxel_size), thin_points(true, voxel_size)
    if not len(predicted) or not len(true):
        return SurfaceScores(np.inf, np.inf, np.inf, 0.0, 0.0, 0.0)
    accuracy, precision = _mean_and_share(predicted, true, threshold, progress, "measuring accuracy")
    completeness, recall = _mean_and_share(true, predicted, threshold, progress, "measuring completeness")
    f_score = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return SurfaceScores(accuracy, completeness, (accuracy + completeness) / 2, precision, recall, f_score)


def _mean_and_share(
    points: np.ndarray, others: np.ndarray, threshold: float, progress: Progress, stage: str
) -> tuple[float, float]:
    """The mean distance from points to others, and the share of distances below the threshold."""
    distances, counts = all_distances(points, others, _EXACT * threshold, progress=progress, stage=stage)
    return float(np.average(distances, weights=counts)), float((distances < threshold).sum() / len(points))


def thin_points(points: np.ndarray, voxel_size: float) -> np.ndarray:
    """The mean of the points (N, 3) in each voxel of a grid whose first voxel is centered on their lowest corner."""
    return merge_cells(points, voxel_size, np.ones(len(points)))[0] if len(points) else points


def read_surface(path: str | Path, count: int = 1_000_000, *, seed: int = 0) -> np.ndarray:
    """Reads a PLY file: `count` random points on the triangles of a mesh, or the vertices of a file without faces.
    Raises `InputError` when the file is missing or unreadable."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            has_faces = b"property list uchar int vertex_indices" in file.read(4096)
        ply = PlyData.read(str(path), known_list_len={"face": {"vertex_indices": 3}} if has_faces else {})
        vertices = np.stack([ply["vertex"][axis] for axis in "xyz"], axis=1).astype(np.float64)
        faces = np.stack(list(ply["face"]["vertex_indices"])) if "face" in ply and ply["face"].count else None
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the data set is incomplete, download it again.") from None
    except (OSError, PlyParseError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is not a readable PLY file of a mesh or points.") from error
    if faces is None:
        return vertices
    return sample_triangles(vertices, faces, count, seed=seed)


def sample_triangles(vertices: np.ndarray, faces: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Random points (count, 3), uniform by area, on the triangles `faces` (F, 3) of `vertices` (V, 3)."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        return vertices
    rng = np.random.default_rng(seed)
    chosen = corners[rng.choice(len(faces), count, p=areas / areas.sum())]
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return chosen[:, 0] + u * (chosen[:, 1] - chosen[:, 0]) + v * (chosen[:, 2] - chosen[:, 0])

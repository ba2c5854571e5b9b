"""How close a cloud of points comes to a true surface: accuracy, completeness, their mean, and the F-score, as Depth
Anything 3's benchmark takes them (after Knapitsch et al., "Tanks and Temples", 2017).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyParseError
from scipy.spatial import KDTree

from scene.errors import InputError


@dataclass(frozen=True)
class SurfaceScores:
    """Distances in the unit of the points, smaller is better; shares in [0, 1], larger is better."""

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
    predicted: np.ndarray, true: np.ndarray, threshold: float, *, voxel_size: float | None = None
) -> SurfaceScores:
    """Scores of points (N, 3) against true ones (M, 3), both thinned to one per voxel first where `voxel_size` is
    given. Nothing predicted scores as badly as can be."""
    if voxel_size is not None:
        predicted, true = thin_points(predicted, voxel_size), thin_points(true, voxel_size)
    if not len(predicted) or not len(true):
        return SurfaceScores(np.inf, np.inf, np.inf, 0.0, 0.0, 0.0)
    to_true = KDTree(true).query(predicted)[0]
    to_predicted = KDTree(predicted).query(true)[0]
    accuracy, completeness = float(to_true.mean()), float(to_predicted.mean())
    precision, recall = float((to_true < threshold).mean()), float((to_predicted < threshold).mean())
    f_score = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return SurfaceScores(accuracy, completeness, (accuracy + completeness) / 2, precision, recall, f_score)


def thin_points(points: np.ndarray, voxel_size: float) -> np.ndarray:
    """The mean of the points (N, 3) in each voxel of a grid whose first voxel is centred on the smallest corner."""
    if not len(points):
        return points
    cells = np.floor((points - points.min(axis=0)) / voxel_size + 0.5).astype(np.int64)
    _, where, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    where = where.ravel()
    sums = np.stack([np.bincount(where, points[:, axis], len(counts)) for axis in range(3)], axis=1)
    return sums / counts[:, None]


def read_surface(path: str | Path, count: int = 1_000_000, *, seed: int = 0) -> np.ndarray:
    """`count` points evenly on the triangles of a PLY mesh, or the vertices of a PLY without faces. `InputError` for a
    file that is missing or no such thing."""
    path = Path(path)
    try:
        ply = PlyData.read(str(path), known_list_len={"face": {"vertex_indices": 3}}) if _has_faces(path) else None
        ply = ply or PlyData.read(str(path))
        vertices = np.stack([ply["vertex"][axis] for axis in "xyz"], axis=1).astype(np.float64)
        faces = np.stack(list(ply["face"]["vertex_indices"])) if "face" in ply and ply["face"].count else None
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the data set is not complete, fetch it again.") from None
    except (OSError, PlyParseError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is no PLY file of a mesh or points that can be read.") from error
    if faces is None:
        return vertices
    return sample_triangles(vertices, faces, count, seed=seed)


def sample_triangles(vertices: np.ndarray, faces: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """`count` points (count, 3) evenly by area on triangles `faces` (F, 3) of `vertices` (V, 3)."""
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


def _has_faces(path: Path) -> bool:
    with path.open("rb") as file:
        return b"property list uchar int vertex_indices" in file.read(4096)

"""Alignment of predicted to known cameras and the normalization of known cameras for the networks.

Cameras are matrices `camera_from_world` (N, 3 or 4, 4) with OpenCV axes; similarities map points between their worlds.
"""

import numpy as np

from dynamic_predictor.depth_anything3.official import OURS, Conventions
from scene.errors import InputError
from scene.rotations import nearest_rotation
from scene.similarity import Similarity, align_points

#: least unit of length of normalized cameras
_SMALLEST_DISTANCE = 0.1
#: number of cameras from which on the alignment is robust against outliers
_ROBUST_FROM = 10


class DegenerateCamerasError(InputError):
    """Camera centers that do not determine a similarity: fewer than three, or all on a line."""


def homogeneous(matrices: np.ndarray) -> np.ndarray:
    """Matrices (N, 3 or 4, 4) as a float64 copy (N, 4, 4)."""
    result = np.tile(np.eye(4), (len(matrices), 1, 1))
    result[:, :3] = np.asarray(matrices, np.float64)[:, :3]
    return result


def camera_poses(camera_from_world: np.ndarray) -> np.ndarray:
    """The poses `world_from_camera` (N, 4, 4) of cameras."""
    return np.linalg.inv(homogeneous(camera_from_world))


def transform_cameras(similarity: Similarity, camera_from_world: np.ndarray) -> np.ndarray:
    """Cameras as matrices `camera_from_world` (N, 4, 4) in the world that `similarity` maps theirs to."""
    return np.linalg.inv(similarity.apply_to_poses(camera_poses(camera_from_world)))


def normalize_cameras(camera_from_world: np.ndarray, *, conventions: Conventions = OURS) -> np.ndarray:
    """Cameras (N, 4, 4) in the frame of the first one and in the unit that the camera encoder was trained on: the lower
    median of the distances to the first camera, at least 0.1."""
    matrices = homogeneous(camera_from_world)
    relative = matrices @ np.linalg.inv(matrices[0])
    distances = np.sort(conventions.counted_distances(np.linalg.norm(relative[:, :3, 3], axis=1)))
    relative[:, :3, 3] /= max(float(distances[(len(distances) - 1) // 2]), _SMALLEST_DISTANCE)
    return relative


def align_camera_centers(target: np.ndarray, source: np.ndarray, *, robust: bool = False) -> Similarity:
    """The least-squares similarity from the centers of `source` to those of `target` cameras. With `robust`, the best
    of ten seeded samples of half the cameras, refitted to its inliers.

    Raises `DegenerateCamerasError`.
    """
    target_centers, source_centers = camera_poses(target)[:, :3, 3], camera_poses(source)[:, :3, 3]
    plain = _align_points(source_centers, target_centers)
    if not robust:
        return plain
    nearest = np.linalg.norm(plain.apply_to_points(source_centers)[:, None] - target_centers[None], axis=-1).min(axis=1)
    threshold = float(np.median(nearest))
    generator = np.random.default_rng(42)
    size = max(3, (len(target) + 1) // 2)
    best, best_inliers, best_score = plain, None, (-1, -np.inf)
    for _ in range(10):
        chosen = generator.choice(np.arange(len(target)), size=size, replace=False)
        try:
            trial = _align_points(source_centers[chosen], target_centers[chosen])
        except DegenerateCamerasError:
            continue
        errors = np.linalg.norm(trial.apply_to_points(source_centers) - target_centers, axis=1)
        inliers = errors <= threshold
        score = (int(inliers.sum()), -float(errors[inliers].mean()) if inliers.any() else -np.inf)
        if score > best_score:
            best, best_inliers, best_score = trial, inliers, score
    if best_inliers is not None and best_inliers.sum() >= 3:
        return _align_points(source_centers[best_inliers], target_centers[best_inliers])
    return best


def _align_points(source: np.ndarray, target: np.ndarray) -> Similarity:
    """`align_points`; `DegenerateCamerasError` where the points (N, 3) do not determine the rotation."""
    covariance = (target - target.mean(axis=0)).T @ (source - source.mean(axis=0)) / len(target)
    singular = np.linalg.svd(covariance, compute_uv=False)
    if np.count_nonzero(singular > np.finfo(singular.dtype).eps) < 2:
        raise DegenerateCamerasError(
            f"{len(target)} camera centers on a line do not determine a scale and a rotation; give at least three "
            "cameras that are not in one row."
        )
    return align_points(source, target)


def align_by_orientation(target: np.ndarray, source: np.ndarray) -> Similarity:
    """The similarity from `source` to `target` cameras with the mean relative rotation of the cameras and the ratio of
    the spreads of their centers as scale (1 for a single camera)."""
    target, source = camera_poses(target)[:, :3], camera_poses(source)[:, :3]
    rotation = nearest_rotation(np.einsum("nij,nkj->ik", target[..., :3], source[..., :3]))
    target_mean, source_mean = target[..., 3].mean(axis=0), source[..., 3].mean(axis=0)
    target_spread = float(np.linalg.norm(target[..., 3] - target_mean))
    source_spread = float(np.linalg.norm(source[..., 3] - source_mean))
    scale = target_spread / source_spread if min(target_spread, source_spread) > 1e-9 else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def align_cameras(target: np.ndarray, source: np.ndarray, *, conventions: Conventions = OURS) -> Similarity:
    """The similarity from `source` to `target` cameras by their centers, robust from ten cameras on; by their
    orientations where the centers do not determine it.

    Raises `DegenerateCamerasError` for the latter under the official conventions.
    """
    try:
        return align_camera_centers(target, source, robust=len(target) >= _ROBUST_FROM)
    except DegenerateCamerasError:
        if not conventions.aligns_degenerate_cameras:
            raise
        return align_by_orientation(target, source)


def relative_scale(target: np.ndarray, source: np.ndarray) -> float:
    """The scale from the centers of `source` to those of `target` cameras; 1 where they determine none."""
    try:
        return align_camera_centers(target, source).scale
    except DegenerateCamerasError:
        return 1.0

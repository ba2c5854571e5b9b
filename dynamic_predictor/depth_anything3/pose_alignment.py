"""Known cameras going into a network, and its predictions brought back to them."""

from dataclasses import dataclass

import numpy as np

from scene.errors import InputError
from scene.rotations import nearest_rotation

#: the least length that camera distances are divided by
_SMALLEST_DISTANCE = 0.1
#: from this many cameras on, the alignment guards against outliers
_ROBUST_FROM = 10


def _homogeneous(matrices: np.ndarray) -> np.ndarray:
    """Matrices (N, 3 or 4, 4) as float64 (N, 4, 4)."""
    result = np.tile(np.eye(4), (len(matrices), 1, 1))
    result[:, :3] = np.asarray(matrices, np.float64)[:, :3]
    return result


def camera_centers(camera_from_world: np.ndarray) -> np.ndarray:
    """Centres (N, 3) of cameras (N, 3 or 4, 4)."""
    matrices = np.asarray(camera_from_world, np.float64)
    return -np.einsum("nji,nj->ni", matrices[:, :3, :3], matrices[:, :3, 3])


def normalize_cameras(camera_from_world: np.ndarray, *, strict_official: bool = False) -> np.ndarray:
    """Cameras (N, 4, 4) in the frame of the first one, divided by their typical distance from it, as the camera encoder
    wants them.

    The distance is the lower median over all cameras but the first, at least 0.1. With `strict_official` the first one
    counts too, at distance zero, so that two cameras always come out at ten times their distance.
    """
    matrices = _homogeneous(camera_from_world)
    relative = matrices @ np.linalg.inv(matrices[0])
    distances = np.sort(np.linalg.norm(camera_centers(relative), axis=1))
    if not strict_official and len(distances) > 1:
        distances = distances[1:]
    relative[:, :3, 3] /= max(float(distances[(len(distances) - 1) // 2]), _SMALLEST_DISTANCE)
    return relative


@dataclass(frozen=True)
class Similarity:
    """target = scale * rotation @ source + translation."""

    rotation: np.ndarray
    translation: np.ndarray
    scale: float

    def moved(self, camera_from_world: np.ndarray) -> np.ndarray:
        """Cameras (N, 3 or 4, 4) of the source's world, in the target's: (N, 4, 4), rigid."""
        matrices = _homogeneous(camera_from_world)
        centers = self.scale * camera_centers(matrices) @ self.rotation.T + self.translation
        rotations = matrices[:, :3, :3] @ self.rotation.T
        matrices[:, :3, :3] = rotations
        matrices[:, :3, 3] = -np.einsum("nij,nj->ni", rotations, centers)
        return matrices


class DegenerateCamerasError(InputError):
    """Camera centres that do not fix a similarity: too few, or all on a line."""


def umeyama(target: np.ndarray, source: np.ndarray) -> Similarity:
    """The least-squares similarity from `source` to `target` points (N, 3) (Umeyama, 1991).

    Raises `DegenerateCamerasError` when the points lie on a line.
    """
    target_mean, source_mean = target.mean(axis=0), source.mean(axis=0)
    target, source = target - target_mean, source - source_mean
    u, singular, vt = np.linalg.svd(target.T @ source / len(target))
    if np.count_nonzero(singular > np.finfo(singular.dtype).eps) < 2:
        raise DegenerateCamerasError(
            f"{len(target)} camera centres on a line do not fix a scale and a rotation; give at least three "
            "cameras that are not in one row."
        )
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((singular * signs).sum() * len(source) / (source**2).sum())
    return Similarity(rotation, target_mean - scale * rotation @ source_mean, scale)


def align_cameras(target: np.ndarray, source: np.ndarray, *, robust: bool = False) -> Similarity:
    """The similarity that brings the centres of `source` cameras to those of `target` (N, 3 or 4, 4), by Umeyama's
    method; with `robust` by ten seeded samples of half the cameras, fitted again to those that agree.

    Raises `DegenerateCamerasError` as `umeyama` does.
    """
    target_centers, source_centers = camera_centers(target), camera_centers(source)
    plain = umeyama(target_centers, source_centers)
    if not robust:
        return plain

    def moved(similarity: Similarity) -> np.ndarray:
        return similarity.scale * source_centers @ similarity.rotation.T + similarity.translation

    nearest = np.linalg.norm(moved(plain)[:, None] - target_centers[None], axis=-1).min(axis=1)
    threshold = float(np.median(nearest))
    generator = np.random.default_rng(42)
    size = max(3, (len(target) + 1) // 2)
    best, best_inliers, best_score = plain, None, (-1, -np.inf)
    for _ in range(10):
        chosen = generator.choice(np.arange(len(target)), size=size, replace=False)
        try:
            trial = umeyama(target_centers[chosen], source_centers[chosen])
        except DegenerateCamerasError:
            continue
        errors = np.linalg.norm(moved(trial) - target_centers, axis=1)
        inliers = errors <= threshold
        score = (int(inliers.sum()), -float(errors[inliers].mean()) if inliers.any() else -np.inf)
        if score > best_score:
            best, best_inliers, best_score = trial, inliers, score
    if best_inliers is not None and best_inliers.sum() >= 3:
        return umeyama(target_centers[best_inliers], source_centers[best_inliers])
    return best


def align_by_orientation(target: np.ndarray, source: np.ndarray) -> Similarity:
    """The similarity from `source` to `target` cameras (N, 3 or 4, 4) whose rotation is the mean of how each camera
    turned: it needs no more than one camera for the rotation and two for the scale (one: scale 1)."""
    target, source = _homogeneous(target), _homogeneous(source)
    rotation = nearest_rotation(np.einsum("nji,njk->ik", target[:, :3, :3], source[:, :3, :3]))
    target_centers, source_centers = camera_centers(target), camera_centers(source)
    target_mean, source_mean = target_centers.mean(axis=0), source_centers.mean(axis=0)
    target_spread = float(np.linalg.norm(target_centers - target_mean))
    source_spread = float(np.linalg.norm(source_centers - source_mean))
    scale = target_spread / source_spread if min(target_spread, source_spread) > 1e-9 else 1.0
    return Similarity(rotation, target_mean - scale * rotation @ source_mean, scale)


def align_to_known_cameras(known: np.ndarray, predicted: np.ndarray, *, strict_official: bool = False) -> Similarity:
    """The similarity from predicted to known cameras (N, 3 or 4, 4), robust from ten cameras on.

    Cameras whose centres fix none (one, two, or a row) are aligned by their orientations; with `strict_official` they
    raise `DegenerateCamerasError`.
    """
    try:
        return align_cameras(known, predicted, robust=len(known) >= _ROBUST_FROM)
    except DegenerateCamerasError:
        if strict_official:
            raise
        return align_by_orientation(known, predicted)


def relative_scale(known: np.ndarray, predicted: np.ndarray) -> float:
    """How much larger the world of the known cameras (N, 3 or 4, 4) is than that of the predicted ones; 1 where their
    centres do not fix it."""
    try:
        return align_cameras(known, predicted).scale
    except DegenerateCamerasError:
        return 1.0

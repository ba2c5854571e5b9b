"""The alignment of overlapping chunks of a long clip, one to another.

Every pixel of a frame that two chunks share has a world point in both. The similarity between the two point maps is
found by iteratively reweighted least squares with Huber weights and both confidences as weights. Each step is Umeyama's
closed form (TPAMI 1991), except that the scale is the ratio of the spreads, as in Horn, "Closed-form solution of
absolute orientation using unit quaternions", JOSA A 1987. VGGT-Long (Deng et al., 2025) and Depth Anything 3 do so.
"""

from dataclasses import dataclass

import numpy as np

from dynamic_predictor.stitching.chunk_windows import ChunkAlignmentMethod
from dynamic_predictor.stitching.official import OURS, Conventions
from scene.rotations import nearest_rotation
from scene.similarity import Similarity
from scene.trajectory import rotation_angle

#: pixels are used above this fraction of the median confidence
_CONFIDENCE_FRACTION = 0.1
_ITERATIONS, _TOLERANCE, _TURN_TOLERANCE = 5, 1e-9, np.radians(0.1)
#: residuals above this multiple of the weighted median residual are outliers, unless `delta` is given
_DELTA_OF_MEDIAN = 1.5


def weighted_similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray, *, with_scale: bool = True
) -> Similarity:
    """The similarity from points `source` (N, 3) onto `target` (N, 3) with weights (N,) >= 0. The scale is the ratio of
    the weighted spreads, or 1 without `with_scale`. Raises `ValueError` if all weights are 0."""
    total = float(weights.sum())
    if not total > 0:
        raise ValueError("no point has any weight")
    share = (weights / total)[:, None]
    source_mean, target_mean = (share * source).sum(axis=0), (share * target).sum(axis=0)
    centered_source, centered_target = source - source_mean, target - target_mean
    rotation = nearest_rotation((share * centered_target).T @ centered_source)
    scale = 1.0
    if with_scale:
        source_spread = float((share * centered_source**2).sum())
        target_spread = float((share * centered_target**2).sum())
        if source_spread > 0 and target_spread > 0:
            scale = float(np.sqrt(target_spread / source_spread))
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def robust_similarity(
    source: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    *,
    with_scale: bool = True,
    delta: float | None = None,
    iterations: int = _ITERATIONS,
    initial: Similarity | None = None,
    conventions: Conventions = OURS,
) -> Similarity:
    """`weighted_similarity`, iterated with Huber weights from `initial` (default: the estimate without them).

    Residuals above `delta`, in target units, are outliers; by default `delta` is 1.5 times the weighted median residual
    of each step, so that it does not depend on the unit of the scene.
    """
    estimate = initial
    if estimate is None:
        estimate = weighted_similarity(source, target, weights, with_scale=with_scale)
    previous_cost = np.inf
    for _ in range(iterations):
        residuals = np.linalg.norm(target - estimate.apply_to_points(source), axis=1)
        limit = delta if delta is not None else _DELTA_OF_MEDIAN * weighted_median(residuals, weights)
        if not limit > 0:
            return estimate
        outliers = residuals > limit
        huber = np.where(outliers, limit / np.maximum(residuals, limit), 1.0)
        refined = weighted_similarity(source, target, weights * huber, with_scale=with_scale)
        cost = float((weights * huber_loss(residuals, limit)).sum())
        moved = abs(refined.scale - estimate.scale) + np.linalg.norm(refined.translation - estimate.translation)
        turned = rotation_angle((refined.rotation @ estimate.rotation.T)[None])[0]
        converged = (moved < _TOLERANCE and turned < _TURN_TOLERANCE) or abs(
            previous_cost - cost
        ) < _TOLERANCE * previous_cost
        if converged and not conventions.returns_last_estimate:
            return estimate
        estimate, previous_cost = refined, cost
        if converged:
            break
    return estimate


def huber_loss(residuals: np.ndarray, delta: float) -> np.ndarray:
    """The Huber loss: half the square up to `delta`, linear beyond (Huber, 1964)."""
    size = np.abs(residuals)
    return np.where(size <= delta, 0.5 * residuals**2, delta * (size - 0.5 * delta))


@dataclass(frozen=True)
class AlignedChunk:
    """The alignment of a chunk to a reference chunk, and its accuracy."""

    #: from the world of the moved chunk to that of the reference
    similarity: Similarity
    #: median distance between the two points of a pixel after alignment, relative to the depth
    relative_error: float
    #: fraction of the pixels that are confident in both chunks
    support: float


def align_chunks(
    reference_points: np.ndarray,
    reference_confidence: np.ndarray,
    reference_depth: np.ndarray,
    moved_points: np.ndarray,
    moved_confidence: np.ndarray,
    moved_depth: np.ndarray,
    *,
    method: ChunkAlignmentMethod = "sim3",
    delta: float | None = None,
    conventions: Conventions = OURS,
) -> AlignedChunk:
    """The similarity that moves `moved_points` onto `reference_points`: world points (N, H, W, 3) of the same frames in
    two chunks, with confidences (N, H, W), 0 = unknown, and z depths (N, H, W).

    Method "sim3" estimates scale, rotation and translation together; "scale+se3" takes the scale from the ratio of the
    depths, then estimates a rigid motion; "se3" keeps the scale 1. Raises `ValueError` for fewer than 8 common pixels.
    """
    limit = confidence_limit(reference_confidence, moved_confidence)
    known = (reference_confidence > limit) & (moved_confidence > limit)
    finite = np.isfinite(reference_points).all(axis=-1) & np.isfinite(moved_points).all(axis=-1)
    chosen = np.flatnonzero(known & finite)
    support = len(chosen) / max(known.size, 1)
    if len(chosen) < 8:
        raise ValueError("the chunks have fewer than 8 known pixels in common")
    if conventions.max_points is not None and len(chosen) > conventions.max_points:
        chosen = chosen[np.linspace(0, len(chosen) - 1, conventions.max_points).astype(np.int64)]
    target = reference_points.reshape(-1, 3)[chosen].astype(np.float64)
    source = moved_points.reshape(-1, 3)[chosen].astype(np.float64)
    confidence = reference_confidence.ravel()[chosen].astype(np.float64) * moved_confidence.ravel()[chosen]
    depth = reference_depth.ravel()[chosen].astype(np.float64)
    weights = np.sqrt(confidence)
    if method == "scale+se3":
        if conventions.depth_scale is not None:
            maps = reference_depth, moved_depth, reference_confidence, moved_confidence
            scale = conventions.depth_scale(*maps).scale
        else:
            scale = depth_scale(depth, moved_depth.ravel()[chosen].astype(np.float64), confidence)
        scaled = source * scale
        rigid = robust_similarity(
            scaled,
            target,
            weights,
            with_scale=conventions.rescales_rigid_steps,
            delta=delta,
            initial=weighted_similarity(scaled, target, weights, with_scale=False),
            conventions=conventions,
        )
        similarity = Similarity(scale, rigid.rotation, rigid.translation)
    else:
        similarity = robust_similarity(
            source, target, weights, with_scale=method == "sim3", delta=delta, conventions=conventions
        )
    distances = np.linalg.norm(target - similarity.apply_to_points(source), axis=1)
    relative = distances / np.maximum(depth, 1e-12)
    return AlignedChunk(similarity, weighted_median(relative, weights), support)


def align_by_cameras(reference_poses: np.ndarray, moved_poses: np.ndarray, scale: float) -> Similarity:
    """The similarity with a known `scale` between the poses world_from_camera (N, 4, 4) of the same frames in two
    chunks: the mean rotation between their orientations, then the median translation between their centers."""
    turns = reference_poses[:, :3, :3] @ moved_poses[:, :3, :3].transpose(0, 2, 1)
    rotation = nearest_rotation(np.average(turns, axis=0))
    shifts = reference_poses[:, :3, 3] - scale * moved_poses[:, :3, 3] @ rotation.T
    return Similarity(scale, rotation, np.median(shifts, axis=0))


def camera_seam(
    similarity: Similarity, reference_poses: np.ndarray, moved_poses: np.ndarray, typical_depth: float
) -> float:
    """The jump of the camera path from one chunk to the other: the median distance between the two cameras of each
    shared frame after alignment, relative to `typical_depth`, plus the median angle between them in radians."""
    moved = similarity.apply_to_poses(moved_poses)
    distances = np.linalg.norm(moved[:, :3, 3] - reference_poses[:, :3, 3], axis=1)
    angles = rotation_angle(moved[:, :3, :3] @ reference_poses[:, :3, :3].transpose(0, 2, 1))
    return float(np.median(distances) / max(typical_depth, 1e-12) + np.median(angles))


def depth_scale(reference_depth: np.ndarray, moved_depth: np.ndarray, weights: np.ndarray) -> float:
    """The factor from the moved depths (N,) to the reference depths (N,): the weighted median of their ratios, refined
    by least squares over the pixels that agree with it. 1 if fewer than 8 pixels have both depths and a weight."""
    known = (reference_depth > 0) & (moved_depth > 0) & (weights > 0)
    if known.sum() < 8:
        return 1.0
    first, second, weights = reference_depth[known], moved_depth[known], weights[known]
    scale = weighted_median(first / second, weights)
    deviation = np.abs(first - scale * second)
    agree = deviation <= 2.0 * weighted_median(deviation, weights) + 1e-12 * np.abs(first)
    first, second, weights = first[agree], second[agree], weights[agree]
    return float((weights * first * second).sum() / (weights * second * second).sum())


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies; 0 if there are no values."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][min(np.searchsorted(summed, summed[-1] / 2), len(values) - 1)])


def confidence_limit(reference_confidence: np.ndarray, moved_confidence: np.ndarray) -> float:
    """The confidence that a pixel must exceed in both chunks to be used for their alignment."""
    medians = [float(np.median(part)) if part.size else 0.0 for part in (reference_confidence, moved_confidence)]
    return _CONFIDENCE_FRACTION * min(medians)

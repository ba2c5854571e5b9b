"""Degenerate clips: cameras that stand still or only rotate, and frames whose pose could not be measured."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from dynamic_predictor.geometric.geometry import Geometry, cost_at
from dynamic_predictor.geometric.reprojection import Poses, identity_poses, residual_norms

#: jitter in pixels that the background of a locked-off camera may have (compression, sensor noise, tracking errors)
STATIC_JITTER = 0.15


def median_error(geometry: Geometry) -> float:
    """Median reprojection error in pixels over all observations, those of moving objects included."""
    norms = residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths)
    values = np.concatenate([norm[np.isfinite(norm)] for norm in norms]) if norms else np.zeros(0)
    return float(np.median(values)) if len(values) else np.inf


def still_geometry(rotating: Geometry, focal: float) -> Geometry:
    """The same tracks under one camera that does not move."""
    poses = identity_poses(len(rotating.registered), focal)
    still = replace(rotating, poses=poses, registered=rotating.registered.copy())
    still.cost = cost_at(still, still.scale)
    return still


def is_still(rotating: Geometry) -> bool:
    """Whether the camera stands still: a single camera for all frames explains most observations within the jitter, or
    nearly as well as the rotating camera does."""
    error = median_error(still_geometry(rotating, rotating.poses.focal))
    return error < STATIC_JITTER or error < min(1.3 * median_error(rotating), 2 * STATIC_JITTER)


def only_rotates(full: Geometry, rotating: Geometry) -> bool:
    """Whether a rotating camera explains the tracks about as well as the `full` geometry with its translation.

    A translation and one depth per track always fit somewhat better than rotation alone; a cost ratio below `gain`
    means that they fit noise. And where rotation alone explains the share `most` of the tracks within the noise, the
    translation only fits moving objects: it moves the background to infinity and takes their motion for parallax.
    """
    scale = max(rotating.scale, 0.1)
    gain, most = 1.35, 0.8
    if cost_at(rotating, scale) < gain * cost_at(full, scale) or median_error(rotating) < 0.1:
        return True
    return explained_share(rotating, 3 * max(full.scale, 0.1)) > most


def explained_share(geometry: Geometry, tolerance: float) -> float:
    """Share, in [0, 1], of the tracks whose root mean square error is below `tolerance` pixels."""
    count, good = 0, 0
    for norm in residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths):
        seen = np.isfinite(norm)
        mean_square = (np.where(seen, norm, 0.0) ** 2).sum(0) / np.maximum(seen.sum(0), 1)
        count += int(seen.any(0).sum())
        good += int((seen.any(0) & (mean_square < tolerance**2)).sum())
    return good / max(count, 1)


def bridge(poses: Poses, registered: np.ndarray) -> None:
    """Fills the poses of frames that are not `registered` (F,), in place: interpolated between the nearest registered
    frames (rotations by slerp, centers and zoom linearly), and equal to the nearest one beyond the ends."""
    known, missing = np.flatnonzero(registered), np.flatnonzero(~registered)
    if len(known) == 0 or len(missing) == 0:
        return
    centers = -np.einsum("kji,kj->ki", poses.rotations, poses.translations)
    at = np.clip(missing, known.min(), known.max())
    if len(known) > 1:
        rotations = Slerp(known, Rotation.from_matrix(poses.rotations[known]))(at).as_matrix()
        positions = np.column_stack([np.interp(at, known, centers[known, axis]) for axis in range(3)])
    else:
        rotations = np.tile(poses.rotations[known[0]], (len(missing), 1, 1))
        positions = np.tile(centers[known[0]], (len(missing), 1))
    if poses.zoom is not None:
        poses.zoom[missing] = np.interp(at, known, poses.zoom[known])
    poses.rotations[missing] = rotations
    poses.translations[missing] = -np.einsum("kij,kj->ki", rotations, positions)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(begin, end) of every run of True in `flags`, `end` exclusive."""
    padded = np.concatenate([[False], flags, [False]]).astype(int)
    change = np.flatnonzero(np.diff(padded))
    return list(zip(change[::2].tolist(), change[1::2].tolist(), strict=True))

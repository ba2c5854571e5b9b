"""What to do where geometry says nothing: no parallax, no motion at all, frames that nothing connects."""

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from dynamic_predictor.geometric.bundle_adjustment import Poses, identity_poses, residual_norms
from dynamic_predictor.geometric.geometry import Geometry, cost_at

#: pixels at which the background of a locked-off camera may jitter (compression, sensor noise, our own tracking)
STATIC_JITTER = 0.15


def median_error(geometry: Geometry) -> float:
    """Median reprojection error in pixels over all observations, moving things included."""
    norms = residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths)
    values = np.concatenate([norm[np.isfinite(norm)] for norm in norms]) if norms else np.zeros(0)
    return float(np.median(values)) if len(values) else np.inf


def still_geometry(rotating: Geometry, focal: float) -> Geometry:
    """The same tracks with one camera that never moves."""
    poses = identity_poses(len(rotating.registered), focal)
    still = Geometry(
        rotating.hosts,
        rotating.inverse_depths,
        rotating.track_weights,
        poses,
        rotating.registered.copy(),
        rotating.center,
        rotating.scale,
    )
    still.cost = cost_at(still, still.scale)
    return still


def is_still(rotating: Geometry) -> bool:
    """Whether the camera stands: one camera for all frames explains most observations within the jitter, and turning
    it explains them hardly better."""
    error = median_error(still_geometry(rotating, rotating.poses.focal))
    return error < STATIC_JITTER or error < min(1.3 * median_error(rotating), 2 * STATIC_JITTER)


def only_rotates(full: Geometry, rotating: Geometry) -> bool:
    """Whether parallax explains so little beyond rotation that it cannot be told from tracking errors.

    A translation and a depth per track always fit somewhat better; by less than `gain` is noise that was fitted. And
    where rotation explains nearly all tracks within the noise, a translation is only there for the sake of things that
    move: it puts the background at infinity and takes their motion for parallax.
    """
    scale = max(rotating.scale, 0.1)
    gain, most = 1.35, 0.8
    if cost_at(rotating, scale) < gain * cost_at(full, scale) or median_error(rotating) < 0.1:
        return True
    return explained_share(rotating, 3 * max(full.scale, 0.1)) > most


def explained_share(geometry: Geometry, tolerance: float) -> float:
    """Share of the tracks whose root mean square error is below `tolerance` pixels."""
    count, good = 0, 0
    for norm in residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths):
        seen = np.isfinite(norm)
        mean_square = (np.where(seen, norm, 0.0) ** 2).sum(0) / np.maximum(seen.sum(0), 1)
        count += int(seen.any(0).sum())
        good += int((seen.any(0) & (mean_square < tolerance**2)).sum())
    return good / max(count, 1)


def bridge(poses: Poses, registered: np.ndarray) -> None:
    """Poses of frames that were not measured, in place: between their measured neighbours (rotation by slerp, centre
    linearly), or like the nearest one beyond the ends."""
    known, missing = np.flatnonzero(registered), np.flatnonzero(~registered)
    if len(known) == 0 or len(missing) == 0:
        return
    centers = -np.einsum("kji,kj->ki", poses.rotations, poses.translations)
    at = np.clip(missing, known.min(), known.max())
    if len(known) > 1:
        turned = Slerp(known, Rotation.from_matrix(poses.rotations[known]))(at).as_matrix()
        moved = np.column_stack([np.interp(at, known, centers[known, axis]) for axis in range(3)])
    else:
        turned = np.tile(poses.rotations[known[0]], (len(missing), 1, 1))
        moved = np.tile(centers[known[0]], (len(missing), 1))
    poses.rotations[missing] = turned
    poses.translations[missing] = -np.einsum("kij,kj->ki", turned, moved)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[(begin, end)) of the runs of True."""
    padded = np.concatenate([[False], flags, [False]]).astype(int)
    change = np.flatnonzero(np.diff(padded))
    return list(zip(change[::2].tolist(), change[1::2].tolist(), strict=True))

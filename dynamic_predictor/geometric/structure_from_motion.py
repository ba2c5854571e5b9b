"""Structure from motion: a pose for every frame of a clip and one shared focal length, from tracks along the flow.
Where the tracks ask for it, a focal length of every frame or a radial term of the lens (`camera_model`).

Clips on which this fails in part still get cameras: of a camera that stands still or only rotates, of pycolmap, or
interpolated ones, with a warning.
"""

import time
from dataclasses import replace

import numpy as np

from dynamic_predictor.geometric.camera_choice import chosen_cameras, plausibility, static_tracks
from dynamic_predictor.geometric.camera_estimate import CameraEstimate, camera_estimate
from dynamic_predictor.geometric.camera_hypotheses import (
    best_of,
    geometry_from_poses,
    refined_poses,
    rotation_geometry,
    solve_cameras,
)
from dynamic_predictor.geometric.camera_model import choose_camera_model
from dynamic_predictor.geometric.colmap_cameras import ColmapCameras, pycolmap_cameras
from dynamic_predictor.geometric.fallback import bridge, is_still, only_rotates, runs, still_geometry
from dynamic_predictor.geometric.geometry import Geometry, cut_out
from dynamic_predictor.geometric.incremental_mapping import extend, refine_registered
from dynamic_predictor.geometric.reprojection import Poses, identity_poses, one_blas_thread
from dynamic_predictor.geometric.revisits import with_revisits
from dynamic_predictor.geometric.tracks import Tracks, track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress

#: prior of the focal length: standard deviation of its logarithm around that of the longer image side
FOCAL_SPREAD = 0.4


def estimate_cameras(
    flow: FlowField,
    motion_masks: FrameMaps | None = None,
    *,
    focal: float | None = None,
    initial: CameraEstimate | None = None,
    lens: bool = False,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> CameraEstimate:
    """Cameras for all frames of the clip of `flow`.

    Pixels that `motion_masks` (1 = moves) mark are not tracked; without masks, moving objects are left to the robust
    loss. A known `focal` length, in pixels, is not changed. `initial` is an earlier estimate for the same clip, which
    is refined on the new tracks instead of searching for cameras again. With `lens`, a lens that distorts is looked
    for; an estimate that has found one is preliminary, and the frames are to be undistorted.
    """
    with one_blas_thread():
        return _estimate(flow, motion_masks, focal, initial, lens, seed, progress)


def _estimate(
    flow: FlowField,
    motion_masks: FrameMaps | None,
    focal: float | None,
    initial: CameraEstimate | None,
    lens: bool,
    seed: int,
    progress: Progress,
) -> CameraEstimate:
    timings: dict[str, float] = {}
    warnings: list[str] = []
    begin = time.perf_counter()
    zoom = None if initial is None else initial.zoom
    tracks = with_revisits(track_points(flow, motion_masks, zoom=zoom, progress=progress), flow, motion_masks, zoom)
    timings["tracking points"] = time.perf_counter() - begin
    begin = time.perf_counter()
    geometry, method = _solved_geometry(
        flow, tracks, motion_masks, focal, initial, lens, seed, warnings, timings, progress
    )
    timings["solving for cameras"] = time.perf_counter() - begin
    begin = time.perf_counter()
    has_translation = method not in ("static_camera", "rotation_only")
    estimate = camera_estimate(geometry, flow.frames, method=method, has_translation=has_translation, warnings=warnings)
    timings["collecting points"] = time.perf_counter() - begin
    estimate.timings = timings
    if zoom is None and estimate.zoom is not None and has_translation:
        # patches of one size drift where the focal length changes: measured, 1.4 % of the path instead of 0.4 %
        again = _estimate(flow, motion_masks, focal, estimate, lens, seed, progress)
        again.timings = {name: timings.get(name, 0.0) + value for name, value in again.timings.items()}
        return again
    return estimate


def _solved_geometry(
    flow: FlowField,
    tracks: Tracks,
    motion_masks: FrameMaps | None,
    focal: float | None,
    initial: CameraEstimate | None,
    lens: bool,
    seed: int,
    warnings: list[str],
    timings: dict[str, float],
    progress: Progress,
) -> tuple[Geometry, str]:
    """The geometry with poses of all frames, and the method that found it (`CameraEstimate.method`)."""
    count = tracks.frame_count
    center = (tracks.width / 2, tracks.height / 2)
    longest = max(tracks.width, tracks.height)
    focal_prior = (longest, FOCAL_SPREAD)
    if not tracks.hosts:
        warnings.append("There is too little texture to track any point; all frames share one camera.")
        poses = identity_poses(count, focal or longest)
        return Geometry([], [], poses, np.zeros(count, bool), center), "static_camera"
    rotating = rotation_geometry(tracks.hosts, count, center, focal, focal_prior)
    rotating.registered = _trackable(tracks)
    if is_still(rotating):
        warnings.append("The camera does not move in this clip; depth cannot be measured and is only plausible.")
        return still_geometry(rotating, focal or longest), "static_camera"

    candidates: list[Geometry] = []
    # an estimate with another focal length has other poses and depths too
    if (
        initial is not None
        and initial.has_translation
        and len(initial.cameras) == count
        and (focal is None or abs(np.log(focal / initial.cameras[0].fx)) < 0.02)
    ):
        poses = _poses_of(initial, focal)
        candidates.append(
            refined_poses(poses, initial.measured, tracks.hosts, center, focal is not None, focal_prior, progress)
        )
    if not candidates or _is_doubtful(candidates[0]):
        solved = solve_cameras(tracks.hosts, count, center, focal, focal_prior, seed, progress)
        candidates += [solved] if solved is not None else []
    geometry = best_of([candidate for candidate in candidates if candidate.hosts])
    if geometry is not None and not geometry.registered.all():
        geometry = _with_disconnected_parts(geometry, tracks, focal_prior, seed, warnings)
    method = "bundle_adjustment"
    hosts, decided = tracks.hosts, False
    if geometry is not None and geometry.hosts and not only_rotates(geometry, rotating):
        chosen = chosen_cameras(geometry, hosts, focal, focal_prior, warnings, seed, progress)
        if chosen is not geometry:
            # the tracks of the other motion are left out from here on, because it explains them with less error
            hosts, decided = static_tracks(chosen), True
            geometry = replace(
                geometry_from_poses(chosen.poses, chosen.registered.copy(), hosts, center), scale=chosen.scale
            )
            refine_registered(geometry, focal_prior, free_focal=focal is None, rounds=2, iterations=8)
            rotating = rotation_geometry(hosts, count, center, focal, focal_prior)
            rotating.registered = _trackable(replace(tracks, hosts=hosts))
    # an estimate of one focal length has been compared with other models already; with a known one that gives a warning
    was_compared = initial is not None and initial.zoom is None and (focal is None or initial.lens is not None)
    if not was_compared and (geometry is None or not only_rotates(geometry, rotating)):
        models = choose_camera_model(geometry, rotating, hosts, focal_prior, lens=lens, seed=seed, progress=progress)
        warnings += models.warnings(focal)
        if focal is None:
            geometry, rotating = models.geometry, models.rotating
            if models.zooms_in_place:
                _bridge_gaps(rotating, warnings)
                return rotating, "rotation_only"
    doubtful = geometry is None or (_is_doubtful(geometry) and not decided)
    if doubtful and 3 <= count <= 200:
        started = time.perf_counter()
        progress("running pycolmap", 0, 1)
        found = pycolmap_cameras(flow.frames, motion_masks, focal=focal, seed=seed)
        if found is not None and len(found.frames) >= 3:
            other = _geometry_from_colmap(found, tracks, center, focal, focal_prior, progress)
            better = best_of([one for one in (geometry, other) if one is not None])
            if other is not None and better is other and geometry is not None and geometry.hosts:
                # a moving object may be explained with less error than the background
                better = other if plausibility(other) > 0.8 * plausibility(geometry) else geometry
            method = "pycolmap" if better is other else method
            geometry = better
        timings["pycolmap"] = time.perf_counter() - started
    if geometry is None or (geometry.registered.mean() > 0.5 and only_rotates(geometry, rotating)):
        warnings.append("The camera only rotates, or moves too little to measure it; depth is only plausible.")
        _bridge_gaps(rotating, warnings)
        return rotating, "rotation_only"
    return geometry, "bridged" if _bridge_gaps(geometry, warnings) else method


def _trackable(tracks: Tracks) -> np.ndarray:
    """(F,) bool: the frames in which enough tracks are visible for a pose."""
    seen = np.zeros(tracks.frame_count, int)
    for host in tracks.hosts:
        seen[host.host] += host.count
        seen[host.frames] += host.visible.sum(1)
    return seen >= 8


def _is_doubtful(geometry: Geometry) -> bool:
    """Whether many frames are not registered, errors are large, or few tracks fit: then pycolmap is tried as well."""
    if not geometry.hosts or geometry.registered.mean() < 0.8:
        return True
    static = np.concatenate(geometry.track_weights) > 0.25
    return geometry.scale > 0.6 or float(static.mean()) < 0.4


def _poses_of(estimate: CameraEstimate, focal: float | None) -> Poses:
    matrices = np.stack([camera.camera_from_world for camera in estimate.cameras])
    zoom = estimate.zoom if focal is None else None
    return Poses(matrices[:, :3, :3].copy(), matrices[:, :3, 3].copy(), float(focal or estimate.cameras[0].fx), zoom)


def _geometry_from_colmap(
    found: ColmapCameras, tracks: Tracks, center, focal, focal_prior, progress
) -> Geometry | None:
    """pycolmap's poses with our tracks, extended to the frames that pycolmap has not registered."""
    poses = identity_poses(tracks.frame_count, focal or found.focal)
    poses.rotations[found.frames], poses.translations[found.frames] = found.rotations, found.translations
    registered = np.zeros(tracks.frame_count, bool)
    registered[found.frames] = True
    start = geometry_from_poses(poses, registered, tracks.hosts, center)
    if not start.hosts:
        return None
    extended = extend(start, tracks.hosts, focal_prior=focal_prior, free_focal=focal is None, progress=progress)
    refine_registered(extended, focal_prior, free_focal=focal is None, rounds=3, iterations=8)
    return extended


def _bridge_gaps(geometry: Geometry, warnings: list[str]) -> bool:
    """Interpolates the poses of frames that are not registered, with a warning; False if there are none."""
    missing = np.flatnonzero(~geometry.registered)
    if len(missing) == 0:
        return False
    bridge(geometry.poses, geometry.registered)
    warnings.append(
        f"{len(missing)} of {len(geometry.registered)} frames could not be measured; their cameras are "
        f"interpolated from their neighbors (first: frame {missing[0]})."
    )
    return True


def _with_disconnected_parts(
    geometry: Geometry, tracks: Tracks, focal_prior, seed: int, warnings: list[str]
) -> Geometry:
    """Solves longer runs of unregistered frames, which share no tracks with the rest (cuts, very fast motion), one by
    one. Each is placed at the nearest registered camera and scaled to the same median depth."""
    for begin, end in runs(~geometry.registered):
        if end - begin < 6:
            continue
        inner = cut_out(tracks.hosts, begin, end)
        focal = geometry.poses.focal
        part = solve_cameras(inner, end - begin, geometry.center, focal, focal_prior, seed) if inner else None
        if part is None:
            continue
        known = np.flatnonzero(geometry.registered)
        anchor = int(known[np.argmin(np.minimum(np.abs(known - begin), np.abs(known - (end - 1))))])
        solved = np.flatnonzero(part.registered)
        nearest = int(solved[0] if anchor < begin else solved[-1])
        scale = _median_depth(geometry) / _median_depth(part)
        rotations, translations = part.poses.rotations, part.poses.translations * scale
        onto = rotations[nearest].T @ geometry.poses.rotations[anchor]
        offset = rotations[nearest].T @ (geometry.poses.translations[anchor] - translations[nearest])
        frames = begin + solved
        geometry.poses.rotations[frames] = rotations[solved] @ onto
        geometry.poses.translations[frames] = translations[solved] + rotations[solved] @ offset
        geometry.registered[frames] = True
        for host, inverse_depth, weight in zip(part.hosts, part.inverse_depths, part.track_weights, strict=True):
            moved = replace(host, host=host.host + begin, frames=host.frames + begin)
            geometry.add(moved, inverse_depth / scale, weight)
        warnings.append(
            f"Frames {begin} to {end - 1} share no tracked points with the rest (a cut, or very fast motion); they "
            f"were solved separately and placed next to frame {anchor}."
        )
    return geometry


def _median_depth(geometry: Geometry) -> float:
    return 1 / max(float(np.median(np.concatenate(geometry.inverse_depths))), 1e-12)

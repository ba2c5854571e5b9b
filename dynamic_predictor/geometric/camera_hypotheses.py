"""The cameras of a clip from several hypotheses, of which the one with the least robust reprojection error is chosen.

The hypotheses start from windows of little and of much parallax, from several focal lengths and from both signs of the
depth (`initialization`); poses from another source can be refined as a further one.
"""

from dataclasses import replace

import numpy as np

from dynamic_predictor.geometric.bundle_adjustment import adjust
from dynamic_predictor.geometric.geometry import SMALLEST_SCALE, Geometry, cost_at, cut_out, thinned, track_weights
from dynamic_predictor.geometric.incremental_mapping import (
    extend,
    refine_depths,
    refine_registered,
    register_frame,
    with_all_tracks,
)
from dynamic_predictor.geometric.initialization import (
    distinct_solutions,
    fit_rotations,
    rotation_between,
    solve_window,
    start_window,
)
from dynamic_predictor.geometric.reprojection import (
    Poses,
    host_rays,
    identity_poses,
    noise_scale,
    relative_poses,
    residual_norms,
)
from dynamic_predictor.geometric.tracks import MOST_FRAMES_TOGETHER, HostTracks, keyframe_stride
from scene.progress import Progress, ignore_progress

#: focal lengths to start from, as multiples of the longer image side
FOCAL_FACTORS = (0.6, 0.9, 1.4, 2.2)
#: largest number of tracks per host while hypotheses are compared
_TRACKS_PER_HOST = 140


def solve_cameras(
    hosts: list[HostTracks],
    frame_count: int,
    center: tuple[float, float],
    focal: float | None,
    focal_prior: tuple[float, float],
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> Geometry | None:
    """The best hypothesis, found on a subset of the tracks and refined on all of them. Frames that share no tracks with
    the rest stay unregistered; None if no hypothesis could be built.

    `center` is the principal point and `focal` the focal length in pixels (None: unknown); `focal_prior` as in
    `bundle_adjustment.adjust`.
    """
    if frame_count > MOST_FRAMES_TOGETHER:
        keyframes, short = keyframe_tracks(hosts, frame_count)
        if not short:
            return None
        solver = _solve_part_by_part if len(keyframes) > MOST_FRAMES_TOGETHER else solve_cameras
        solved = solver(short, len(keyframes), center, focal, focal_prior, seed, progress)
        return None if solved is None else with_other_frames(solved, hosts, keyframes, frame_count, progress)
    longest = 2 * max(center)
    focals = [focal] if focal is not None else [factor * longest for factor in FOCAL_FACTORS]
    thin = [thinned(host, _TRACKS_PER_HOST) for host in hosts]
    rotations = fit_rotations(thin, frame_count, focal or 1.1 * longest, center)
    extended: list[Geometry] = []
    windows: list[np.ndarray] = []
    # a window of little parallax keeps tracks in view and the problem nearly linear; one of much parallax determines
    # the focal length and the sign of the depth. The cost on the whole clip decides which of the two is better
    for parallax in (0.012, 0.035):
        window = start_window(thin, rotations, center, parallax=parallax * longest)
        if any(np.array_equal(window, other) for other in windows):
            continue
        windows.append(window)
        solutions = solve_window(thin, window, center, focals, focal_prior, focal is not None, seed)
        for solution in distinct_solutions(solutions)[:2]:
            extended.append(
                extend(solution, thin, focal_prior=focal_prior, free_focal=focal is None, progress=progress)
            )
    best = best_of(extended)
    if best is None:
        return None
    geometry = with_all_tracks(best, hosts)
    refine_registered(geometry, focal_prior, free_focal=focal is None, rounds=4, iterations=10)
    return geometry


def best_of(geometries: list[Geometry]) -> Geometry | None:
    """The geometry with the least robust cost per observation at a common noise scale; the cost of a geometry grows
    with the number of frames that it has not registered. None for an empty list."""
    if not geometries:
        return None
    scale = min(geometry.scale for geometry in geometries)
    most = max(int(geometry.registered.sum()) for geometry in geometries)
    for geometry in geometries:
        geometry.cost = cost_at(geometry, scale) * (most / max(int(geometry.registered.sum()), 1)) ** 2
    return min(geometries, key=lambda geometry: geometry.cost)


def geometry_from_poses(
    poses: Poses, registered: np.ndarray, hosts: list[HostTracks], center: tuple[float, float]
) -> Geometry:
    """The geometry of known poses: inverse depths of all tracks of registered hosts, from registered frames only."""
    geometry = Geometry([], [], poses.copy(), registered.copy(), center, scale=0.5, cost=0.0)
    for host in hosts:
        if registered[host.host] and registered[host.frames].any():
            geometry.add(host, triangulated(host, poses, registered, center))
    refine_depths(geometry, iterations=12)
    return geometry


def triangulated(host: HostTracks, poses: Poses, registered: np.ndarray, center: tuple[float, float]) -> np.ndarray:
    """Inverse depths (T,) by linear least squares on `pixel x (R ray + inverse_depth t) = 0` over registered frames."""
    rotation, translation = relative_poses(host, poses)
    rays = host_rays(host, poses, center)
    rotated = np.einsum("kij,tj->kti", rotation, rays)
    seen = (host.pixels - np.asarray(center)) / np.reshape(poses.focals_of(host.frames), (-1, 1, 1))
    seen = seen if poses.radial is None else poses.radial.ideal(seen)
    use = host.visible & registered[host.frames][:, None]
    top, bottom = np.zeros(host.count), np.zeros(host.count)
    for axis in range(2):
        by_depth = translation[:, axis, None] - seen[..., axis] * translation[:, 2, None]
        constant = rotated[..., axis] - seen[..., axis] * rotated[..., 2]
        top -= np.where(use, by_depth * constant, 0.0).sum(0)
        bottom += np.where(use, by_depth**2, 0.0).sum(0)
    inverse_depth = top / np.maximum(bottom, 1e-18)
    positive = inverse_depth[(inverse_depth > 0) & (bottom > 0)]
    typical = float(np.median(positive)) if len(positive) else 1.0
    return np.clip(inverse_depth, 0.02 * typical, 50 * typical)


def rotation_geometry(
    hosts: list[HostTracks],
    frame_count: int,
    center: tuple[float, float],
    focal: float | None,
    focal_prior: tuple[float, float],
) -> Geometry:
    """The rotations and the focal length that explain the tracks best without any translation; all inverse depths are
    0."""
    longest = 2 * max(center)
    solutions = []
    keyframes, thin = keyframe_tracks(hosts, frame_count)
    thin = [thinned(host, _TRACKS_PER_HOST // 2) for host in thin]
    for start in [focal] if focal is not None else [factor * longest for factor in FOCAL_FACTORS]:
        poses = fit_rotations(thin, len(keyframes), start, center)
        depths = [np.zeros(host.count) for host in thin]
        geometry = Geometry(thin, depths, poses, np.ones(len(keyframes), bool), center)
        for index in range(3):
            norms = residual_norms(geometry.problem(), geometry.poses, depths)
            geometry.scale = max(noise_scale(norms, geometry.track_weights if index else None), SMALLEST_SCALE)
            if index:
                geometry.track_weights = track_weights(norms, geometry.scale)
            solution = adjust(
                geometry.problem(),
                geometry.poses,
                depths,
                scale=geometry.scale,
                iterations=8,
                free_focal=focal is None and index > 0,
                free_translation=False,
                free_depth=False,
                focal_prior=focal_prior,
                depth_prior=0.0,
            )
            geometry.poses = solution.poses
        norms = residual_norms(geometry.problem(), geometry.poses, depths)
        geometry.scale = max(noise_scale(norms), SMALLEST_SCALE)
        solutions.append(geometry)
    best = best_of(solutions)
    assert best is not None
    if len(keyframes) < frame_count:
        best = rotations_between_keyframes(best, hosts, keyframes, frame_count)
    norms = residual_norms(best.problem(), best.poses, best.inverse_depths)
    best.track_weights = track_weights(norms, best.scale)
    return best


def rotations_between_keyframes(
    solved: Geometry, hosts: list[HostTracks], keyframes: np.ndarray, frame_count: int
) -> Geometry:
    """A rotating camera whose keyframes are solved, with the rotations of the frames between them."""
    poses = poses_between_keyframes(solved.poses, keyframes, frame_count)
    center = solved.center
    whole = {host.host: host for host in hosts}
    for frame in np.setdiff1d(np.arange(frame_count), keyframes):
        nearest = min(whole, key=lambda index: abs(index - frame))  # noqa: B023
        at = np.flatnonzero(whole[nearest].frames == frame)
        seen = whole[nearest].visible[at[0]] if len(at) else np.zeros(0, bool)
        poses.rotations[frame] = poses.rotations[nearest]
        if seen.sum() >= 6:
            first, second = whole[nearest].host_pixels[seen], whole[nearest].pixels[at[0]][seen]
            focal = poses.focal_of(nearest)
            if poses.zoom is not None:
                second = (second - center) * (focal / poses.focal_of(frame)) + center
            poses.rotations[frame] = rotation_between(first, second, focal, center) @ poses.rotations[nearest]
    depths = [np.zeros(host.count) for host in hosts]
    return Geometry(hosts, depths, poses, np.ones(frame_count, bool), center, solved.scale)


def poses_between_keyframes(poses: Poses, keyframes: np.ndarray, frame_count: int) -> Poses:
    """The poses of keyframes, with the identity and an interpolated zoom for the frames between them."""
    found = replace(identity_poses(frame_count, poses.focal), radial=poses.radial)
    found.rotations[keyframes], found.translations[keyframes] = poses.rotations, poses.translations
    if poses.zoom is not None:
        found.zoom = np.interp(np.arange(frame_count), keyframes, poses.zoom)
    return found


def refined_poses(
    poses: Poses,
    registered: np.ndarray,
    hosts: list[HostTracks],
    center: tuple[float, float],
    focal_is_known: bool,
    focal_prior: tuple[float, float],
    progress: Progress = ignore_progress,
) -> Geometry:
    """The geometry of approximately known poses (those marked in `registered`), refined on the tracks."""
    frame_count = len(registered)
    keyframes, short = keyframe_tracks(hosts, frame_count)
    geometry = geometry_from_poses(poses.at(keyframes), registered[keyframes], short, center)
    if geometry.hosts:
        refine_registered(geometry, focal_prior, free_focal=not focal_is_known, rounds=4, iterations=8)
    if len(keyframes) < frame_count:
        geometry = with_other_frames(geometry, hosts, keyframes, frame_count, progress)
    return geometry


def keyframe_tracks(hosts: list[HostTracks], frame_count: int) -> tuple[np.ndarray, list[HostTracks]]:
    """The keyframes (K,) of a clip, and the tracks in them, with frames numbered by keyframe. All frames of a short
    clip are keyframes."""
    keyframes = keyframes_of(frame_count)
    if len(keyframes) == frame_count:
        return keyframes, hosts
    is_key = np.zeros(frame_count, bool)
    is_key[keyframes] = True
    number = np.cumsum(is_key) - 1
    short = []
    for host in hosts:
        if is_key[host.host]:
            kept = host.subset(frames=np.flatnonzero(is_key[host.frames]))
            if len(kept.frames):
                short.append(replace(kept, host=int(number[host.host]), frames=number[kept.frames]))
    return keyframes, short


def keyframes_of(frame_count: int) -> np.ndarray:
    """The keyframes (K,) of a clip; those of a short clip are all of its frames."""
    stride = keyframe_stride(frame_count)
    return np.unique(np.append(np.arange(0, frame_count, stride), frame_count - 1))


def _solve_part_by_part(short, count, center, focal, focal_prior, seed, progress) -> Geometry | None:
    """For many keyframes: the best hypothesis on the middle `MOST_FRAMES_TOGETHER` of them, extended to the others."""
    begin = (count - MOST_FRAMES_TOGETHER) // 2
    end = begin + MOST_FRAMES_TOGETHER
    inner = cut_out(short, begin, end)
    solved = solve_cameras(inner, end - begin, center, focal, focal_prior, seed, progress) if inner else None
    if solved is None:
        return None
    poses = identity_poses(count, solved.poses.focal)
    poses.rotations[begin:end], poses.translations[begin:end] = solved.poses.rotations, solved.poses.translations
    registered = np.zeros(count, bool)
    registered[begin:end] = solved.registered
    part = geometry_from_poses(poses, registered, short, center)
    return extend(part, short, focal_prior=focal_prior, free_focal=focal is None, progress=progress)


def with_other_frames(solved: Geometry, hosts, keyframes: np.ndarray, frame_count: int, progress) -> Geometry:
    """The geometry of the keyframes with the frames between them registered too."""
    poses = poses_between_keyframes(solved.poses, keyframes, frame_count)
    registered = np.zeros(frame_count, bool)
    registered[keyframes] = solved.registered
    whole = {host.host: host for host in hosts}
    geometry = Geometry([], [], poses, registered, solved.center, solved.scale, solved.cost)
    for host, inverse_depth, weight in zip(solved.hosts, solved.inverse_depths, solved.track_weights, strict=True):
        full = whole[int(keyframes[host.host])]
        if full.count == host.count:
            geometry.add(full, inverse_depth, weight)
    for frame in np.flatnonzero(~registered):
        register_frame(geometry, int(frame))
        if frame % 50 == 0:
            progress("placing the other frames", int(frame), frame_count)
    return geometry

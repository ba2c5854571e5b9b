"""Incremental mapping: a solved part of a clip is extended to the other frames.

Frames are registered one after the other by resection, the tracks of new hosts get inverse depths, and bundle
adjustment runs whenever the number of registered frames has grown enough.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.geometric.bundle_adjustment import adjust
from dynamic_predictor.geometric.geometry import SMALLEST_SCALE, Geometry, restricted, track_weights
from dynamic_predictor.geometric.reprojection import (
    Problem,
    host_rays,
    noise_scale,
    project_host,
    residual_norms,
)
from dynamic_predictor.geometric.resection import resected, resection_of
from dynamic_predictor.geometric.tracks import HostTracks
from scene.progress import Progress, ignore_progress
from scene.rotations import nearest_rotation


def register_frame(geometry: Geometry, frame: int, scale: float | None = None) -> bool:
    """Finds the pose of a new frame from tracks of known depth, in place. It starts from the nearest registered pose
    and from the one extrapolated from the two nearest, and keeps the better fit. False if too few tracks are
    visible."""
    points, scales, pixels, weights = [], [], [], []
    near = sorted(range(len(geometry.hosts)), key=lambda index: abs(geometry.hosts[index].host - frame))
    for index in near:
        host, inverse_depth = geometry.hosts[index], geometry.inverse_depths[index]
        at = np.searchsorted(host.frames, frame)
        if not geometry.registered[host.host] or at == len(host.frames) or host.frames[at] != frame:
            continue
        seen = np.flatnonzero(host.visible[at] & (geometry.track_weights[index] > 0.05))
        rays = host_rays(host.subset(tracks=seen), geometry.poses, geometry.center)
        offset = inverse_depth[seen, None] * geometry.poses.translations[host.host]
        points.append((rays - offset) @ geometry.poses.rotations[host.host])
        scales.append(inverse_depth[seen])
        pixels.append(host.pixels[at, seen])
        weights.append(geometry.track_weights[index][seen])
        if len(points) >= 5 and sum(len(part) for part in points) >= 400:
            break
    if sum(len(part) for part in points) < 8:
        return False
    view = (np.concatenate(points), np.concatenate(scales), np.concatenate(pixels), np.concatenate(weights))
    known = np.flatnonzero(geometry.registered)
    order = known[np.argsort(np.abs(known - frame), kind="stable")]
    guesses = [(geometry.poses.rotations[order[0]], geometry.poses.translations[order[0]])]
    if len(order) > 1 and abs(order[0] - order[1]) <= 2 and (order[0] - frame) * (order[1] - frame) > 0:
        one, two = order[0], order[1]
        turn = geometry.poses.rotations[one] @ geometry.poses.rotations[two].T
        drift = geometry.poses.translations[one] - turn @ geometry.poses.translations[two]
        # orthonormalized, because the rounding errors of such products double from frame to frame
        guesses.append((nearest_rotation(turn @ guesses[0][0]), turn @ guesses[0][1] + drift))
    if geometry.poses.radial is not None:
        focal, middle = geometry.poses.focal_of(frame), np.asarray(geometry.center)
        ideal = geometry.poses.radial.ideal((view[2] - middle) / focal) * focal + middle
        view = (view[0], view[1], ideal, view[3])
    base = max(scale or geometry.scale, 0.3)
    resection = resection_of(*view, geometry.poses.focal_of(frame), geometry.center)
    solved = [resected(resection, *guess, base) for guess in guesses]
    _, geometry.poses.rotations[frame], geometry.poses.translations[frame] = min(solved, key=lambda found: found[0])
    geometry.registered[frame] = True
    return True


def predicted_inverse_depths(geometry: Geometry, host: HostTracks) -> np.ndarray:
    """Inverse depths (T,) for the tracks of a new host: the median of the nearest points of other hosts, projected into
    its frame; 1 where there are none."""
    pixels, depths = [], []
    for known, inverse_depth, weight in zip(
        geometry.hosts, geometry.inverse_depths, geometry.track_weights, strict=True
    ):
        if known.host == host.host:
            continue
        frames, visible = np.array([host.host]), np.ones((1, known.count), bool)
        view = HostTracks(known.host, known.host_pixels, frames, np.zeros((1, known.count, 2)), visible)
        position, z = project_host(view, inverse_depth, geometry.poses, geometry.center)
        good = (z[0] > 0.05) & (weight > 0.3)
        pixels.append(position[0][good])
        depths.append(inverse_depth[good] / z[0][good])
    if not pixels or sum(len(part) for part in pixels) == 0:
        return np.ones(host.count)
    tree = KDTree(np.concatenate(pixels))
    values = np.concatenate(depths)
    _, nearest = tree.query(host.host_pixels, k=min(5, len(values)))
    return np.median(values[nearest.reshape(host.count, -1)], axis=1)


def refine(
    geometry: Geometry,
    *,
    focal_prior: tuple[float, float] | None,
    free_focal: bool,
    rounds: int,
    iterations: int,
) -> None:
    """Bundle adjustment in place, in rounds: each estimates the noise and the track weights, then minimizes."""
    for index in range(rounds):
        problem = geometry.problem()
        norms = residual_norms(problem, geometry.poses, geometry.inverse_depths)
        scale = max(noise_scale(norms, geometry.track_weights), SMALLEST_SCALE)
        if index > 0 or geometry.cost < np.inf:
            geometry.track_weights = track_weights(norms, scale)
            problem = geometry.problem()
        solution = adjust(
            problem,
            geometry.poses,
            geometry.inverse_depths,
            scale=scale,
            iterations=iterations,
            free_focal=free_focal,
            focal_prior=focal_prior,
        )
        geometry.poses, geometry.inverse_depths = solution.poses, solution.inverse_depths
        geometry.cost = solution.cost
    norms = residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths)
    geometry.scale = max(noise_scale(norms, geometry.track_weights), SMALLEST_SCALE)


def extend(
    geometry: Geometry,
    hosts: list[HostTracks],
    *,
    focal_prior: tuple[float, float] | None,
    free_focal: bool,
    progress: Progress = ignore_progress,
) -> Geometry:
    """A solved window extended to all frames that share tracks with it; `hosts` are all hosts of the clip."""
    whole = {host.host: host for host in hosts}
    count = len(geometry.registered)
    # the window has only tracks that are long in it; from here on all tracks of its hosts are used
    extended = with_all_tracks(geometry, [whole[host.host] for host in geometry.hosts])
    since_adjustment = 0
    failed = np.zeros(count, bool)
    while True:
        known = np.flatnonzero(extended.registered)
        candidates = np.flatnonzero(~extended.registered & ~failed)
        candidates = candidates[(candidates > known.min()) & (candidates < known.max())].tolist()
        for end, direction in ((known.min(), -1), (known.max(), 1)):
            frame = end + direction
            while 0 <= frame < count and failed[frame]:
                frame += direction
            if 0 <= frame < count:
                candidates.append(frame)
        if not candidates:
            break
        for frame in candidates:
            if not register_frame(extended, int(frame)):
                failed[frame] = True
                continue
            since_adjustment += 1
            if frame in whole and frame not in {host.host for host in extended.hosts}:
                _add_host(extended, whole[frame], extended)
                refine_depths(extended, only=frame)
        if since_adjustment >= max(3, 0.2 * extended.registered.sum()):
            since_adjustment = 0
            refine_registered(extended, focal_prior, free_focal, rounds=1, iterations=5)
        progress("solving for cameras", int(extended.registered.sum()), count)
    refine_registered(extended, focal_prior, free_focal, rounds=2, iterations=8)
    return extended


def with_all_tracks(geometry: Geometry, hosts: list[HostTracks]) -> Geometry:
    """The same poses with all tracks of `hosts`, whose inverse depths start from those of `geometry`."""
    poses, registered = geometry.poses.copy(), geometry.registered.copy()
    full = Geometry([], [], poses, registered, geometry.center, geometry.scale, geometry.cost)
    for host in hosts:
        if geometry.registered[host.host]:
            _add_host(full, host, geometry)
    refine_depths(full)
    return full


def _add_host(geometry: Geometry, host: HostTracks, source: Geometry) -> None:
    """Adds the tracks of `host`, with inverse depths that are known in or predicted from `source`."""
    inverse_depth = predicted_inverse_depths(source, host)
    for known, known_depth in zip(source.hosts, source.inverse_depths, strict=True):
        if known.host == host.host:
            tree = KDTree(known.host_pixels)
            distance, nearest = tree.query(host.host_pixels)
            inverse_depth = np.where(distance < 1e-6, known_depth[nearest], inverse_depth)
    geometry.add(host, inverse_depth)


def _registered_problem(geometry: Geometry, only: int | None = None):
    """The tracks (of the host `only`, or of all) in registered frames, and the positions of their hosts in
    `geometry`."""
    hosts, depths, weights, at = [], [], [], []
    for index, host in enumerate(geometry.hosts):
        if only is not None and host.host != only:
            continue
        kept = restricted(host, geometry.registered)
        if len(kept.frames):
            hosts.append(kept)
            depths.append(geometry.inverse_depths[index])
            weights.append(geometry.track_weights[index])
            at.append(index)
    return Problem(hosts, depths, weights, geometry.center), at


def refine_depths(geometry: Geometry, only: int | None = None, iterations: int = 6) -> None:
    """Adjusts the inverse depths and weights of the tracks (of the host `only`, or of all) in place, all poses
    fixed."""
    problem, at = _registered_problem(geometry, only)
    if not problem.hosts:
        return
    scale = max(geometry.scale, 0.2)
    fixed = np.zeros(len(geometry.registered), bool)
    solution = adjust(
        problem,
        geometry.poses,
        problem.inverse_depths,
        scale=scale * 2,
        iterations=iterations,
        free_frames=fixed,
        free_focal=False,
    )
    weights = track_weights(residual_norms(problem, geometry.poses, solution.inverse_depths), scale)
    for place, depth, weight in zip(at, solution.inverse_depths, weights, strict=True):
        geometry.inverse_depths[place] = depth
        geometry.track_weights[place] = weight


def refine_registered(geometry: Geometry, focal_prior, free_focal, rounds: int, iterations: int) -> None:
    """`refine` on the registered frames alone."""
    problem, at = _registered_problem(geometry)
    part = replace(
        geometry,
        hosts=problem.hosts,
        inverse_depths=problem.inverse_depths,
        track_weights=problem.track_weights,
        cost=0.0,
    )
    refine(part, focal_prior=focal_prior, free_focal=free_focal, rounds=rounds, iterations=iterations)
    geometry.poses, geometry.scale, geometry.cost = part.poses, part.scale, part.cost
    for place, depth, weight in zip(at, part.inverse_depths, part.track_weights, strict=True):
        geometry.inverse_depths[place] = depth
        geometry.track_weights[place] = weight

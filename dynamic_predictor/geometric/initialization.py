"""First poses and inverse depths of a clip, from a window in its middle grown to both ends.

The window is solved from several starts: rotation-compensated small motion with one constant inverse depth, its
depth-reversed twin, and the essential matrix, each under several focal lengths (small motion: Yu and Gallup, CVPR 2014;
Ha et al., CVPR 2016). The start with the least robust cost wins and is grown frame by frame: resection of the next
frame, triangulation of the next hosts, bundle adjustment now and then.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.geometric.bundle_adjustment import (
    NEAREST,
    Poses,
    Problem,
    adjust,
    identity_poses,
    noise_scale,
    project_host,
    residual_norms,
    robust_cost,
    rotation_from_vector,
)
from dynamic_predictor.geometric.epipolar import two_view_pose
from dynamic_predictor.geometric.tracks import HostTracks
from scene.rotations import nearest_rotation

SMALLEST_SCALE = 0.08


@dataclass
class Geometry:
    """Hosts with their inverse depths and track weights, and the poses of all frames (`registered` says which are
    solved)."""

    hosts: list[HostTracks]
    inverse_depths: list[np.ndarray]
    track_weights: list[np.ndarray]
    poses: Poses
    registered: np.ndarray
    center: tuple[float, float]
    scale: float = 1.0
    cost: float = np.inf

    def problem(self) -> Problem:
        return Problem(self.hosts, self.inverse_depths, self.track_weights, self.center)


def restricted(host: HostTracks, frames: np.ndarray) -> HostTracks:
    """The host's tracks in the frames marked in `frames` (F,) bool."""
    return host.subset(frames=np.flatnonzero(frames[host.frames]))


def thinned(host: HostTracks, most: int) -> HostTracks:
    """At most `most` of the host's tracks, evenly over the picture, the longer ones of neighbours."""
    if host.count <= most:
        return host
    length = host.visible.sum(0)
    runs = np.array_split(np.arange(host.count), most)
    return host.subset(tracks=np.array([run[np.argmax(length[run])] for run in runs]))


def track_weights(norms: list[np.ndarray], scale: float, softness: float = 3.0) -> list[np.ndarray]:
    """Weight (T,) per host of each track as a whole: near 0 when its typical error is far above the noise, as on
    things that move (Geman-McClure on the median error)."""
    weights = []
    for norm in norms:
        seen = np.isfinite(norm)
        filled = np.where(seen, norm, 0.0)
        mean_square = (np.minimum(filled, 20 * scale) ** 2).sum(0) / np.maximum(seen.sum(0), 1) / 2
        weights.append(np.where(seen.any(0), 1 / (1 + mean_square / (softness * scale) ** 2) ** 2, 0.0))
    return weights


def fit_rotations(hosts: list[HostTracks], count: int, focal: float, center: tuple[float, float]) -> Poses:
    """Robust rotation-only poses, chained over neighbouring frames from the tracks of all hosts."""
    poses = identity_poses(count, focal)
    for frame in range(1, count):
        first, second = [], []
        for host in hosts:
            here, there = _positions(host, frame - 1), _positions(host, frame)
            if here is None or there is None:
                continue
            both = here[1] & there[1]
            first.append(here[0][both])
            second.append(there[0][both])
        if not first or sum(len(part) for part in first) < 6:
            poses.rotations[frame] = poses.rotations[frame - 1]
            continue
        turn = rotation_between(np.concatenate(first), np.concatenate(second), focal, center)
        poses.rotations[frame] = turn @ poses.rotations[frame - 1]
    return poses


def _positions(host: HostTracks, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
    if frame == host.host:
        return host.host_pixels, np.ones(host.count, bool)
    at = np.searchsorted(host.frames, frame)
    if at == len(host.frames) or host.frames[at] != frame:
        return None
    return host.pixels[at], host.visible[at]


def rotation_between(first: np.ndarray, second: np.ndarray, focal: float, center: tuple[float, float]) -> np.ndarray:
    """The rotation that best takes the rays of pixels `first` (N, 2) to those of `second`, robustly."""
    one = np.column_stack([(first - center) / focal, np.ones(len(first))])
    rotation = np.eye(3)
    for _ in range(12):
        turned = one @ rotation.T
        a, b = turned[:, 0] / turned[:, 2], turned[:, 1] / turned[:, 2]
        u, v = focal * a + center[0] - second[:, 0], focal * b + center[1] - second[:, 1]
        norm = np.hypot(u, v)
        scale = max(float(np.median(norm)), 0.05)
        weight = 1 / (1 + (norm / (1.5 * scale)) ** 2)
        rows_u = focal * np.column_stack([-a * b, 1 + a * a, -b])
        rows_v = focal * np.column_stack([-(1 + b * b), a * b, a])
        matrix = (rows_u * weight[:, None]).T @ rows_u + (rows_v * weight[:, None]).T @ rows_v
        slope = rows_u.T @ (weight * u) + rows_v.T @ (weight * v)
        step = -np.linalg.solve(matrix + 1e-9 * np.trace(matrix) * np.eye(3), slope)
        rotation = rotation_from_vector(step) @ rotation
        if np.linalg.norm(step) < 1e-6:
            break
    return rotation


def start_window(hosts: list[HostTracks], rotations: Poses, center, parallax: float) -> np.ndarray:
    """The window of frames (F,) bool to start from, around a host: widened until rotation alone is off by `parallax`
    pixels in the median or half of the tracks are lost. Of several hosts the one with most parallax wins, the middle
    of the clip being preferred among equals."""
    count = len(rotations.rotations)
    best, best_score = np.ones(count, bool), -1.0
    for host in hosts:
        pixels, _ = project_host(host, np.zeros(host.count), rotations, center)
        window = np.zeros(count, bool)
        window[host.host] = True
        reached = []
        for direction in (-1, 1):
            order = [k for k in range(len(host.frames)) if np.sign(host.frames[k] - host.host) == direction]
            order.sort(key=lambda k: abs(int(host.frames[k]) - host.host))  # noqa: B023
            motion = 0.0
            for k in order:
                seen = host.visible[k]
                if seen.sum() < max(12, 0.45 * host.count):
                    if seen.sum() < 6 and abs(int(host.frames[k]) - host.host) <= 2:
                        continue
                    break
                motion = float(np.median(np.linalg.norm(pixels[k] - host.pixels[k], axis=-1)[seen]))
                window[host.frames[k]] = True
                if motion > parallax and window.sum() >= 5:
                    break
            reached.append(min(motion, parallax))
        middle = 1 - abs(host.host - (count - 1) / 2) / count
        score = (max(reached) + 0.5 * min(reached) + 0.02) * np.sqrt(host.count) * middle
        if score > best_score:
            best, best_score = window, score
    return best


def solve_window(
    hosts: list[HostTracks],
    window: np.ndarray,
    center: tuple[float, float],
    focals: list[float],
    focal_prior: tuple[float, float],
    focal_is_known: bool,
    seed: int,
) -> list[Geometry]:
    """Solutions of the window, the best first."""
    inside = [host for host in hosts if window[host.host]]
    if len(inside) > 6:
        inside = [inside[index] for index in np.unique(np.linspace(0, len(inside) - 1, 6).astype(int))]
    window = _thinned_window(window, 14)
    window[[host.host for host in inside]] = True
    inside = [restricted(host, window) for host in inside]
    inside = [host for host in inside if len(host.frames) and host.visible.any()]
    inside = [host.subset(tracks=host.visible.sum(0) >= max(1, min(3, len(host.frames)))) for host in inside]
    inside = [host for host in inside if host.count >= 6]
    if not inside:
        return []
    count = len(window)
    solutions = []
    for focal in focals:
        rotations = fit_rotations(inside, count, focal, center)
        starts: list[tuple[Poses, list[np.ndarray]]] = [(rotations, [np.ones(host.count) for host in inside])]
        starts += _essential_starts(inside, rotations, center, seed)
        for poses, depths in starts:
            geometry = Geometry(inside, depths, [np.ones(host.count) for host in inside], poses, window.copy(), center)
            refine(geometry, focal_prior=focal_prior, free_focal=False, rounds=2, iterations=8)
            solutions.append(geometry)
            twin = Geometry(
                inside,
                [np.clip(2 * np.median(d) - d, 0.05, None) for d in geometry.inverse_depths],
                [np.ones(host.count) for host in inside],
                _reversed(geometry.poses, inside[len(inside) // 2].host),
                window.copy(),
                center,
            )
            refine(twin, focal_prior=focal_prior, free_focal=False, rounds=2, iterations=8)
            solutions.append(twin)
    # one scale for all, or costs do not compare
    scale = min(solution.scale for solution in solutions)
    for solution in solutions:
        solution.cost = cost_at(solution, scale)
    solutions.sort(key=lambda solution: solution.cost)
    solutions = solutions[:4]
    for solution in solutions:
        refine(solution, focal_prior=focal_prior, free_focal=not focal_is_known, rounds=3, iterations=10)
    scale = min(solution.scale for solution in solutions)
    for solution in solutions:
        solution.cost = cost_at(solution, scale)
    solutions.sort(key=lambda solution: solution.cost)
    return solutions


def distinct(solutions: list[Geometry]) -> list[Geometry]:
    """Of sorted solutions those that are not nearly as costly as, and of the same focal length as, a better one, nor
    far worse than the best."""
    kept: list[Geometry] = []
    for solution in solutions:
        if kept and solution.cost > 1.5 * kept[0].cost + 0.05:
            break
        if all(
            abs(np.log(solution.poses.focal / other.poses.focal)) > 0.05
            or abs(solution.cost - other.cost) > 0.01 * other.cost
            for other in kept
        ):
            kept.append(solution)
    return kept


def _thinned_window(window: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the frames of a window, evenly spread."""
    frames = np.flatnonzero(window)
    thin = np.zeros_like(window)
    thin[frames[np.unique(np.linspace(0, len(frames) - 1, most).astype(int))]] = True
    return thin


def cost_at(geometry: Geometry, scale: float) -> float:
    """Robust cost with all tracks weighing the same, so that giving up tracks does not look like a gain."""
    problem = Problem(
        geometry.hosts, geometry.inverse_depths, [np.ones(host.count) for host in geometry.hosts], geometry.center
    )
    return robust_cost(residual_norms(problem, geometry.poses, geometry.inverse_depths), problem, scale)


def _reversed(poses: Poses, reference: int) -> Poses:
    """Translations negated as seen from the reference frame."""
    rotation, translation = poses.rotations[reference], poses.translations[reference]
    relative = poses.rotations @ rotation.T
    moved = poses.translations - relative @ translation
    return Poses(relative, -moved, poses.focal)


def _essential_starts(inside, rotations: Poses, center, seed):
    """A start from the essential matrix between each end of the window and its middle host."""
    host = inside[len(inside) // 2]
    starts = []
    for k in {0, len(host.frames) - 1}:
        seen = np.flatnonzero(host.visible[k])
        found = two_view_pose(host.host_pixels[seen], host.pixels[k][seen], rotations.focal, center, seed)
        if found is None:
            continue
        rotation, translation, depth = found
        poses = Poses(
            rotations.rotations @ rotations.rotations[host.host].T,
            np.zeros_like(rotations.translations),
            rotations.focal,
        )
        poses.rotations[host.frames[k]], poses.translations[host.frames[k]] = rotation, translation
        known = np.isfinite(depth)
        if known.sum() < 6:
            continue
        inverse = np.full(host.count, 1 / float(np.median(depth[known])))
        inverse[seen[known]] = 1 / depth[known]
        geometry = Geometry(
            [host], [inverse], [np.ones(host.count)], poses, np.zeros(len(rotations.rotations), bool), center
        )
        geometry.registered[[host.host, host.frames[k]]] = True
        order = sorted(range(len(host.frames)), key=lambda j: abs(j - k))  # noqa: B023
        for j in order:
            frame = int(host.frames[j])
            if not geometry.registered[frame]:
                register_frame(geometry, frame, scale=2.0)
        depths = []
        for other in inside:
            depths.append(inverse if other is host else carry_depths(geometry, other))
        starts.append((geometry.poses.copy(), depths))
    return starts


def register_frame(geometry: Geometry, frame: int, scale: float | None = None) -> bool:
    """Pose of a new frame from tracks with known depth, starting at the nearest registered pose, or further along the
    motion of the two nearest, whatever fits better. False when too few tracks are seen."""
    points, scales, pixels, weights = [], [], [], []
    near = sorted(range(len(geometry.hosts)), key=lambda index: abs(geometry.hosts[index].host - frame))
    for index in near:
        host, inverse_depth = geometry.hosts[index], geometry.inverse_depths[index]
        at = np.searchsorted(host.frames, frame)
        if not geometry.registered[host.host] or at == len(host.frames) or host.frames[at] != frame:
            continue
        seen = np.flatnonzero(host.visible[at] & (geometry.track_weights[index] > 0.05))
        rays = np.column_stack([(host.host_pixels[seen] - geometry.center) / geometry.poses.focal, np.ones(len(seen))])
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
        # made a rotation again: from frame to frame the rounding errors of such products double
        guesses.append((nearest_rotation(turn @ guesses[0][0]), turn @ guesses[0][1] + drift))
    base = max(scale or geometry.scale, 0.3)
    solved = [_resected(*guess, *view, geometry.poses.focal, geometry.center, base) for guess in guesses]
    _, geometry.poses.rotations[frame], geometry.poses.translations[frame] = min(solved, key=lambda found: found[0])
    geometry.registered[frame] = True
    return True


def _resected(rotation, translation, points, scales, pixels, weights, focal, center, noise):
    """Pose of one camera from homogeneous world points (`points` (N, 3), `scales` (N,): the place is their quotient)
    and their pixels, by Gauss-Newton with a Cauchy loss that gets narrower down to the noise. Its cost comes first."""
    cost = np.inf
    for factor in (8.0, 3.0, 1.0, 1.0):
        cutoff = (2.0 * noise * factor) ** 2
        for _ in range(4):
            moved = points @ rotation.T + scales[:, None] * translation
            in_front = moved[:, 2] > NEAREST
            inverse_z = 1 / np.where(in_front, moved[:, 2], NEAREST)
            a, b = moved[:, 0] * inverse_z, moved[:, 1] * inverse_z
            u, v = focal * a + center[0] - pixels[:, 0], focal * b + center[1] - pixels[:, 1]
            square = u * u + v * v
            cost = float((weights * np.log1p(square / cutoff)).sum() / weights.sum())
            weight = np.where(in_front, weights / (1 + square / cutoff), 0.0)
            s, zero = inverse_z * scales, np.zeros(len(a))
            rows_u = focal * np.stack([s, zero, -s * a, -a * b, 1 + a * a, -b])
            rows_v = focal * np.stack([zero, s, -s * b, -(1 + b * b), a * b, a])
            matrix = (rows_u * weight) @ rows_u.T + (rows_v * weight) @ rows_v.T
            slope = rows_u @ (weight * u) + rows_v @ (weight * v)
            diagonal = np.diag(matrix)
            matrix = matrix + np.diag(1e-6 * diagonal + 1e-9 * max(float(diagonal.max()), 1e-9))
            step = -np.linalg.solve(matrix, slope)
            turn = rotation_from_vector(np.clip(step[3:], -0.3, 0.3))
            rotation, translation = turn @ rotation, turn @ translation + step[:3]
            if np.abs(step).max() < 1e-6:
                break
    return cost, rotation, translation


def carry_depths(geometry: Geometry, host: HostTracks) -> np.ndarray:
    """Inverse depths for the tracks of a new host: those of the nearest known points as seen from there."""
    pixels, depths = [], []
    for known, inverse_depth, weight in zip(
        geometry.hosts, geometry.inverse_depths, geometry.track_weights, strict=True
    ):
        if known.host == host.host:
            continue
        view = HostTracks(
            known.host,
            known.host_pixels,
            np.array([host.host]),
            np.zeros((1, known.count, 2)),
            np.ones((1, known.count), bool),
        )
        place, z = project_host(view, inverse_depth, geometry.poses, geometry.center)
        good = (z[0] > 0.05) & (weight > 0.3)
        pixels.append(place[0][good])
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
    free_frames: np.ndarray | None = None,
) -> None:
    """Bundle adjustment in rounds: each measures the noise, then the weights of the tracks, then minimizes."""
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
            free_frames=free_frames,
            free_focal=free_focal,
            focal_prior=focal_prior,
        )
        geometry.poses, geometry.inverse_depths = solution.poses, solution.inverse_depths
        geometry.cost = solution.cost
    norms = residual_norms(geometry.problem(), geometry.poses, geometry.inverse_depths)
    geometry.scale = max(noise_scale(norms, geometry.track_weights), SMALLEST_SCALE)


def grow(
    geometry: Geometry,
    hosts: list[HostTracks],
    *,
    focal_prior: tuple[float, float] | None,
    free_focal: bool,
    progress=None,
) -> Geometry:
    """The window's solution grown over all frames that can be reached; `hosts` are all hosts of the clip."""
    whole = {host.host: host for host in hosts}
    count = len(geometry.registered)
    # the window left out tracks that are short in it: give the active hosts all their tracks back
    grown = with_all_tracks(geometry, [whole[host.host] for host in geometry.hosts])
    since = 0
    failed = np.zeros(count, bool)
    while True:
        known = np.flatnonzero(grown.registered)
        candidates = np.flatnonzero(~grown.registered & ~failed)
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
            if not register_frame(grown, int(frame)):
                failed[frame] = True
                continue
            since += 1
            if frame in whole and frame not in {host.host for host in grown.hosts}:
                _activate(grown, whole[frame], grown)
                refine_depths(grown, only=frame)
        if since >= max(3, 0.2 * grown.registered.sum()):
            since = 0
            refine_registered(grown, focal_prior, free_focal, rounds=1, iterations=5)
        if progress is not None:
            progress("solving for cameras", int(grown.registered.sum()), count)
    refine_registered(grown, focal_prior, free_focal, rounds=2, iterations=8)
    return grown


def with_all_tracks(geometry: Geometry, hosts: list[HostTracks]) -> Geometry:
    """The same poses with all tracks of `hosts`, their depths carried over from those that are known."""
    poses, registered = geometry.poses.copy(), geometry.registered.copy()
    full = Geometry([], [], [], poses, registered, geometry.center, geometry.scale, geometry.cost)
    for host in hosts:
        if geometry.registered[host.host]:
            _activate(full, host, geometry)
    refine_depths(full)
    return full


def _activate(geometry: Geometry, host: HostTracks, source: Geometry) -> None:
    inverse_depth = carry_depths(source, host)
    for known, known_depth in zip(source.hosts, source.inverse_depths, strict=True):
        if known.host == host.host:
            tree = KDTree(known.host_pixels)
            distance, nearest = tree.query(host.host_pixels)
            inverse_depth = np.where(distance < 1e-6, known_depth[nearest], inverse_depth)
    geometry.hosts.append(host)
    geometry.inverse_depths.append(inverse_depth)
    geometry.track_weights.append(np.ones(host.count))


def _registered_problem(geometry: Geometry, only: int | None = None):
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
    """Inverse depths alone, all poses fixed; then the weights of these tracks."""
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
    problem, at = _registered_problem(geometry)
    part = Geometry(
        problem.hosts,
        problem.inverse_depths,
        problem.track_weights,
        geometry.poses,
        geometry.registered,
        geometry.center,
        geometry.scale,
        0.0,
    )
    refine(part, focal_prior=focal_prior, free_focal=free_focal, rounds=rounds, iterations=iterations)
    geometry.poses, geometry.scale, geometry.cost = part.poses, part.scale, part.cost
    for place, depth, weight in zip(at, part.inverse_depths, part.track_weights, strict=True):
        geometry.inverse_depths[place] = depth
        geometry.track_weights[place] = weight

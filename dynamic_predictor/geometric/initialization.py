"""First poses and inverse depths, of a window of frames of the clip.

The window is solved from several starts: rotations only with one constant inverse depth, the depth-reversed twin of its
solution, and the essential matrix, each with several focal lengths (small motion: Yu and Gallup, CVPR 2014; Ha et al.,
CVPR 2016). The solutions are sorted by robust cost; `incremental_mapping` extends the best ones to the other frames.
"""

import numpy as np

from dynamic_predictor.geometric.epipolar import two_view_pose
from dynamic_predictor.geometric.geometry import Geometry, cost_at, restricted
from dynamic_predictor.geometric.incremental_mapping import predicted_inverse_depths, refine, register_frame
from dynamic_predictor.geometric.reprojection import Poses, identity_poses, project_host, rotation_from_vector
from dynamic_predictor.geometric.tracks import HostTracks


def fit_rotations(hosts: list[HostTracks], count: int, focal: float, center: tuple[float, float]) -> Poses:
    """Poses without translation: robust rotations between neighboring frames, from the tracks of all hosts,
    chained."""
    poses = identity_poses(count, focal)
    for frame in range(1, count):
        first, second = [], []
        for host in hosts:
            previous, current = _positions(host, frame - 1), _positions(host, frame)
            if previous is None or current is None:
                continue
            both = previous[1] & current[1]
            first.append(previous[0][both])
            second.append(current[0][both])
        if not first or sum(len(part) for part in first) < 6:
            poses.rotations[frame] = poses.rotations[frame - 1]
            continue
        turn = rotation_between(np.concatenate(first), np.concatenate(second), focal, center)
        poses.rotations[frame] = turn @ poses.rotations[frame - 1]
    return poses


def _positions(host: HostTracks, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels (T, 2) and visibility (T,) of the host's tracks in `frame`; None if they were not tracked there."""
    if frame == host.host:
        return host.host_pixels, np.ones(host.count, bool)
    at = np.searchsorted(host.frames, frame)
    if at == len(host.frames) or host.frames[at] != frame:
        return None
    return host.pixels[at], host.visible[at]


def rotation_between(first: np.ndarray, second: np.ndarray, focal: float, center: tuple[float, float]) -> np.ndarray:
    """The rotation (3, 3) that maps the rays of pixels `first` (N, 2) to those of `second`, by robust least squares."""
    one = np.column_stack([(first - center) / focal, np.ones(len(first))])
    rotation = np.eye(3)
    for _ in range(12):
        rotated = one @ rotation.T
        a, b = rotated[:, 0] / rotated[:, 2], rotated[:, 1] / rotated[:, 2]
        u, v = focal * a + center[0] - second[:, 0], focal * b + center[1] - second[:, 1]
        norm = np.hypot(u, v)
        scale = max(float(np.median(norm)), 0.05)
        weight = 1 / (1 + (norm / (1.5 * scale)) ** 2)
        rows_u = focal * np.column_stack([-a * b, 1 + a * a, -b])
        rows_v = focal * np.column_stack([-(1 + b * b), a * b, a])
        matrix = (rows_u * weight[:, None]).T @ rows_u + (rows_v * weight[:, None]).T @ rows_v
        gradient = rows_u.T @ (weight * u) + rows_v.T @ (weight * v)
        step = -np.linalg.solve(matrix + 1e-9 * np.trace(matrix) * np.eye(3), gradient)
        rotation = rotation_from_vector(step) @ rotation
        if np.linalg.norm(step) < 1e-6:
            break
    return rotation


def start_window(hosts: list[HostTracks], rotations: Poses, center, parallax: float) -> np.ndarray:
    """The window of frames (F,) bool to start from. The window around a host is widened until the median error of
    rotation alone exceeds `parallax` pixels or half of the tracks are lost; of all hosts the one with most parallax and
    most tracks is chosen, preferably in the middle of the clip."""
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
    """Up to four solutions of the window, the best one first."""
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
            geometry = Geometry(inside, depths, poses, window.copy(), center)
            refine(geometry, focal_prior=focal_prior, free_focal=False, rounds=2, iterations=8)
            solutions.append(geometry)
            reversed_depths = [np.clip(2 * np.median(d) - d, 0.05, None) for d in geometry.inverse_depths]
            reversed_poses = _reversed(geometry.poses, inside[len(inside) // 2].host)
            twin = Geometry(inside, reversed_depths, reversed_poses, window.copy(), center)
            refine(twin, focal_prior=focal_prior, free_focal=False, rounds=2, iterations=8)
            solutions.append(twin)
    # costs are comparable only at a common noise scale
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


def distinct_solutions(solutions: list[Geometry]) -> list[Geometry]:
    """The solutions, sorted by cost, without those of nearly the same cost and focal length as a better one and without
    those that are far worse than the best."""
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
    """At most `most` frames of the window, evenly spread."""
    frames = np.flatnonzero(window)
    thin = np.zeros_like(window)
    thin[frames[np.unique(np.linspace(0, len(frames) - 1, most).astype(int))]] = True
    return thin


def _reversed(poses: Poses, reference: int) -> Poses:
    """The poses with the reference frame as world and with negated translations."""
    rotation, translation = poses.rotations[reference], poses.translations[reference]
    relative = poses.rotations @ rotation.T
    return Poses(relative, relative @ translation - poses.translations, poses.focal)


def _essential_starts(inside, rotations: Poses, center, seed):
    """Starts (poses, inverse depths) from the essential matrix between the middle host and either end of its tracks."""
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
        geometry = Geometry([host], [inverse], poses, np.zeros(len(rotations.rotations), bool), center)
        geometry.registered[[host.host, host.frames[k]]] = True
        order = sorted(range(len(host.frames)), key=lambda j: abs(j - k))  # noqa: B023
        for j in order:
            frame = int(host.frames[j])
            if not geometry.registered[frame]:
                register_frame(geometry, frame, scale=2.0)
        depths = []
        for other in inside:
            depths.append(inverse if other is host else predicted_inverse_depths(geometry, other))
        starts.append((geometry.poses.copy(), depths))
    return starts

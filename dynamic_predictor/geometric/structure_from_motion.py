"""Cameras of a clip from its flow: a pose for every frame and one shared focal length, whatever the clip is like."""

import time
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.geometric.bundle_adjustment import (
    Poses,
    identity_poses,
    project_host,
    residual_norms,
)
from dynamic_predictor.geometric.flow import FlowField
from dynamic_predictor.geometric.initialization import (
    SMALLEST_SCALE,
    Geometry,
    cost_at,
    fit_rotations,
    grow,
    refine,
    refine_depths,
    refine_registered,
    solve_window,
    start_window,
    thinned,
    with_all_tracks,
)
from dynamic_predictor.geometric.tracks import HostTracks, Tracks, track_points
from scene.camera import Camera
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud


@dataclass
class SparseObservations:
    """The triangulated static points that each frame sees, all frames one after the other.

    Frame i owns the rows `frame_starts[i]` to `frame_starts[i + 1]` of the arrays (N, ...).
    """

    #: (F + 1,) int
    frame_starts: np.ndarray
    #: (N, 2) float32, (u, v) where the point was seen, pixel centres at +0.5
    pixels: np.ndarray
    #: (N,) float32, 1 / z_depth in that frame, in 1 / scene units
    inverse_depths: np.ndarray
    #: (N,) float32, standard deviation of the inverse depth (poses taken as exact)
    sigmas: np.ndarray
    #: (N,) int, row of the point in `CameraEstimate.points`
    points: np.ndarray

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(pixels (n, 2), inverse_depths (n,), sigmas (n,)) of frame `index`."""
        rows = slice(int(self.frame_starts[index]), int(self.frame_starts[index + 1]))
        return self.pixels[rows], self.inverse_depths[rows], self.sigmas[rows]


@dataclass
class MovingObservations:
    """Where tracks that no static point explains were seen: seeds for the motion stage. Layout as in
    `SparseObservations`; `errors` (N,) float32 is how far they are from the best static explanation, in pixels."""

    frame_starts: np.ndarray
    pixels: np.ndarray
    errors: np.ndarray

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(int(self.frame_starts[index]), int(self.frame_starts[index + 1]))
        return self.pixels[rows], self.errors[rows]


@dataclass
class CameraEstimate:
    """What `estimate_cameras` found.

    The world is the first frame's camera. Its unit is such that the median z depth of the observed static points is 4
    (of all frames together); without translation depths have no scale, and points lie at a depth of 4.
    """

    cameras: list[Camera]
    #: "bundle_adjustment", "rotation_only", "static_camera" or "bridged"
    method: str
    #: pixels, over observations of static tracks
    median_reprojection_error: float
    points: PointCloud
    point_tracks: SparseObservations
    #: False when no parallax could be measured: then any depth explains the clip
    has_translation: bool
    moving_tracks: MovingObservations
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    #: frames (F,) bool whose pose was measured and not bridged
    measured: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


MEDIAN_DEPTH = 4.0


def estimate_cameras(
    flow: FlowField,
    motion_masks: FrameMaps | None = None,
    *,
    focal: float | None = None,
    initial: CameraEstimate | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> CameraEstimate:
    """Cameras for all frames of the flow's clip.

    `motion_masks` (1 = moves) keep tracks off moving things; without them moving things must be outvoted. `focal` in
    pixels is kept as it is. `initial` is an earlier estimate of the same clip: it is refined on new tracks (made with
    the masks) rather than found again.
    """
    timings: dict[str, float] = {}
    begin = time.perf_counter()
    tracks = track_points(flow, motion_masks, progress=progress)
    timings["tracking points"] = time.perf_counter() - begin
    begin = time.perf_counter()
    width, height = tracks.width, tracks.height
    center = (width / 2, height / 2)
    focal_prior = (1.0 * max(width, height), 0.4)
    warnings: list[str] = []
    geometry = None
    if initial is not None and initial.has_translation and len(initial.cameras) == tracks.frame_count:
        geometry = _from_estimate(initial, tracks.hosts, center)
        refine(geometry, focal_prior=focal_prior, free_focal=focal is None, rounds=3, iterations=8)
    elif tracks.hosts:
        geometry = _solve(tracks.hosts, tracks.frame_count, center, focal, focal_prior, seed, progress)
    timings["solving for cameras"] = time.perf_counter() - begin
    if geometry is None:
        poses = identity_poses(tracks.frame_count, focal or focal_prior[0])
        geometry = Geometry([], [], [], poses, np.zeros(tracks.frame_count, bool), center)
        warnings.append("No camera motion could be measured in this clip; all frames share one camera.")
        return _finished(flow, tracks, geometry, "static_camera", False, warnings, timings)
    method, has_translation = "bundle_adjustment", True
    if not geometry.registered.all():
        method = "bridged"
        _bridge(geometry)
        missing = np.flatnonzero(~geometry.registered)
        warnings.append(
            f"{len(missing)} of {tracks.frame_count} frames could not be measured and got cameras from their "
            f"neighbours (first: frame {missing[0]})."
        )
    return _finished(flow, tracks, geometry, method, has_translation, warnings, timings)


def _solve(hosts, count, center, focal, focal_prior, seed, progress) -> Geometry | None:
    """The best hypothesis, found on a part of the tracks and refined on all."""
    longest = 2 * max(center)
    focals = [focal] if focal is not None else [0.75 * longest, 1.15 * longest, 1.9 * longest]
    thin = [thinned(host, 140) for host in hosts]
    rotations = fit_rotations(thin, count, focal or 1.1 * longest, center)
    window = start_window(thin, rotations, center, parallax=0.012 * longest)
    solutions = solve_window(thin, window, center, focals, focal_prior, focal is not None, seed)
    if not solutions:
        return None
    promising = [solution for solution in solutions[:3] if solution.cost < 1.25 * solutions[0].cost + 0.02]
    grown = [
        grow(solution, thin, focal_prior=focal_prior, free_focal=focal is None, progress=progress)
        for solution in promising
    ]
    scale = min(geometry.scale for geometry in grown)
    most = max(int(geometry.registered.sum()) for geometry in grown)
    for geometry in grown:
        geometry.cost = cost_at(geometry, scale) * (most / geometry.registered.sum()) ** 2
    best = min(grown, key=lambda geometry: geometry.cost)
    geometry = with_all_tracks(best, hosts)
    refine_registered(geometry, focal_prior, free_focal=focal is None, rounds=4, iterations=10)
    return geometry


def _from_estimate(initial: CameraEstimate, hosts: list[HostTracks], center) -> Geometry:
    matrices = np.stack([camera.camera_from_world for camera in initial.cameras])
    poses = Poses(matrices[:, :3, :3].copy(), matrices[:, :3, 3].copy(), float(initial.cameras[0].fx))
    depths = []
    for host in hosts:
        pixels, inverse_depths, _ = initial.point_tracks.frame(host.host)
        depths.append(_nearest_median(pixels, inverse_depths, host.host_pixels))
    geometry = Geometry(
        hosts,
        depths,
        [np.ones(host.count) for host in hosts],
        poses,
        np.ones(len(poses.rotations), bool),
        center,
        scale=max(initial.median_reprojection_error, 0.2),
        cost=0.0,
    )
    refine_depths(geometry)
    return geometry


def _nearest_median(known_pixels: np.ndarray, values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    if len(values) == 0:
        return np.full(len(pixels), 1 / MEDIAN_DEPTH)
    _, nearest = KDTree(known_pixels).query(pixels, k=min(5, len(values)))
    return np.median(values[nearest.reshape(len(pixels), -1)], axis=1).astype(np.float64)


def _bridge(geometry: Geometry) -> None:
    """Poses of frames that could not be measured: between their measured neighbours."""
    from scipy.spatial.transform import Rotation, Slerp

    known = np.flatnonzero(geometry.registered)
    rotations, translations = geometry.poses.rotations, geometry.poses.translations
    centers = -np.einsum("kji,kj->ki", rotations, translations)
    missing = np.flatnonzero(~geometry.registered)
    at = np.clip(missing, known.min(), known.max())
    if len(known) > 1:
        turned = Slerp(known, Rotation.from_matrix(rotations[known]))(at).as_matrix()
        moved = np.column_stack([np.interp(at, known, centers[known, axis]) for axis in range(3)])
    else:
        turned, moved = (
            np.tile(rotations[known[0]], (len(missing), 1, 1)),
            np.tile(centers[known[0]], (len(missing), 1)),
        )
    rotations[missing] = turned
    translations[missing] = -np.einsum("kij,kj->ki", turned, moved)


def _finished(flow, tracks: Tracks, geometry: Geometry, method, has_translation, warnings, timings) -> CameraEstimate:
    begin = time.perf_counter()
    count = tracks.frame_count
    poses = geometry.poses
    first_rotation, first_translation = poses.rotations[0].copy(), poses.translations[0].copy()
    rotations = poses.rotations @ first_rotation.T
    translations = poses.translations - rotations @ first_translation
    # tracks: static ones with their points, moving ones with their errors
    problem = geometry.problem()
    norms = residual_norms(problem, poses, geometry.inverse_depths)
    scale = geometry.scale
    static_norms = []
    per_frame: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(count)]
    moving: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(count)]
    positions, colors = [], []
    point_count = 0
    world = Poses(rotations, translations, poses.focal)
    for host, inverse_depth, weight, norm in zip(
        geometry.hosts, geometry.inverse_depths, geometry.track_weights, norms, strict=True
    ):
        seen = host.visible & (norm < 8 * scale)
        static = (weight > 0.25) & (seen.sum(0) >= min(2, count - 1)) & (seen.sum(0) > 0.6 * host.visible.sum(0))
        static_norms.append(norm[:, static][host.visible[:, static]])
        information = _depth_information(host, inverse_depth, world, geometry.center, scale, seen)
        rows = np.flatnonzero(static)
        numbers = np.full(host.count, -1)
        numbers[rows] = point_count + np.arange(len(rows))
        point_count += len(rows)
        sigma = 1 / np.sqrt(information + 1e-12)
        rays = np.column_stack([(host.host_pixels - np.asarray(geometry.center)) / poses.focal, np.ones(host.count)])
        in_camera = rays[rows] / np.maximum(inverse_depth[rows], 1e-9)[:, None]
        positions.append((in_camera - translations[host.host]) @ rotations[host.host])
        picture = flow.frames.rgb8(host.host)
        place = np.clip(host.host_pixels[rows].astype(int), 0, [tracks.width - 1, tracks.height - 1])
        colors.append(picture[place[:, 1], place[:, 0]])
        per_frame[host.host].append((host.host_pixels[rows], inverse_depth[rows], sigma[rows], numbers[rows]))
        _, z = project_host(host, inverse_depth, world, geometry.center)
        turned = (
            z
            - (
                world.translations[host.frames]
                - np.einsum("kij,j->ki", rotations[host.frames] @ rotations[host.host].T, translations[host.host])
            )[:, 2, None]
            * inverse_depth[None]
        )
        for k, frame in enumerate(host.frames):
            chosen = np.flatnonzero(static & seen[k] & (z[k] > 1e-3))
            there = inverse_depth[chosen] / z[k, chosen]
            spread = sigma[chosen] * np.abs(turned[k, chosen]) / z[k, chosen] ** 2
            per_frame[frame].append((host.pixels[k, chosen], there, spread, numbers[chosen]))
            outlying = np.flatnonzero((weight < 0.05) & host.visible[k])
            moving[frame].append((host.pixels[k, outlying], norm[k, outlying]))
    point_tracks = _sparse_observations(per_frame)
    moving_tracks = _moving_observations(moving)
    unit = 1.0
    if has_translation and len(point_tracks.inverse_depths):
        unit = float(np.median(point_tracks.inverse_depths)) * MEDIAN_DEPTH
        unit = unit if np.isfinite(unit) and unit > 1e-12 else 1.0
    point_tracks.inverse_depths /= unit
    point_tracks.sigmas /= unit
    cameras = []
    for rotation, translation in zip(rotations, translations, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = -rotation.T @ (translation * unit)
        cameras.append(
            Camera(tracks.width, tracks.height, poses.focal, poses.focal, tracks.width / 2, tracks.height / 2, matrix)
        )
    cloud = PointCloud(
        (np.concatenate(positions) * unit if positions else np.zeros((0, 3))).astype(np.float32),
        (np.concatenate(colors) if colors else np.zeros((0, 3))).astype(np.uint8),
    )
    errors = np.concatenate(static_norms) if static_norms else np.zeros(0)
    timings["collecting points"] = time.perf_counter() - begin
    return CameraEstimate(
        cameras,
        method,
        float(np.median(errors)) if len(errors) else 0.0,
        cloud,
        point_tracks,
        has_translation,
        moving_tracks,
        warnings,
        timings,
        geometry.registered.copy(),
    )


def _depth_information(host, inverse_depth, poses: Poses, center, scale, seen) -> np.ndarray:
    """Information (T,) of each inverse depth from its observations with noise `scale`, poses taken as exact."""
    step = 1e-4 * max(float(np.median(inverse_depth)), 1e-9) if host.count else 1e-6
    one, _ = project_host(host, inverse_depth, poses, center)
    two, _ = project_host(host, inverse_depth + step, poses, center)
    slope = (((two - one) / step) ** 2).sum(-1)
    return (slope * seen).sum(0) / max(scale, SMALLEST_SCALE) ** 2


def _starts(parts: list[list[tuple[np.ndarray, ...]]]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([sum(len(rows[0]) for rows in frame) for frame in parts])]).astype(int)


def _column(parts: list[list[tuple[np.ndarray, ...]]], column: int, shape: tuple[int, ...], dtype) -> np.ndarray:
    arrays = [rows[column] for frame in parts for rows in frame]
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(shape, dtype)


def _sparse_observations(parts) -> SparseObservations:
    return SparseObservations(
        _starts(parts),
        _column(parts, 0, (0, 2), np.float32),
        _column(parts, 1, (0,), np.float32),
        _column(parts, 2, (0,), np.float32),
        _column(parts, 3, (0,), np.int64),
    )


def _moving_observations(parts) -> MovingObservations:
    return MovingObservations(
        _starts(parts), _column(parts, 0, (0, 2), np.float32), _column(parts, 1, (0,), np.float32)
    )

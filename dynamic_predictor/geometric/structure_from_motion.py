"""Cameras of a clip from its flow: a pose for every frame and one shared focal length, whatever the clip is like."""

import time
from dataclasses import dataclass, field, replace

import numpy as np

from dynamic_predictor.geometric.bundle_adjustment import (
    Poses,
    identity_poses,
    one_blas_thread,
    project_host,
    residual_norms,
)
from dynamic_predictor.geometric.camera_hypotheses import (
    best_of,
    geometry_from_poses,
    refined,
    rotation_geometry,
    solve,
)
from dynamic_predictor.geometric.colmap_cameras import SecondOpinion, pycolmap_cameras
from dynamic_predictor.geometric.fallback import bridge, is_still, only_rotates, runs, still_geometry
from dynamic_predictor.geometric.geometry import SMALLEST_SCALE, Geometry
from dynamic_predictor.geometric.incremental_mapping import grow, refine_registered
from dynamic_predictor.geometric.revisits import with_revisits
from dynamic_predictor.geometric.tracks import Tracks, track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
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
    #: "bundle_adjustment", "pycolmap", "rotation_only", "static_camera", or "bridged" when some frames got their
    #: cameras from their neighbours
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


#: median z depth of the static points in the world's unit
MEDIAN_DEPTH = 4.0
#: standard deviation of the logarithm of the focal length around the longer side, before anything is seen
FOCAL_SPREAD = 0.4


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
    with one_blas_thread():
        return _estimate(flow, motion_masks, focal, initial, seed, progress)


def _estimate(
    flow: FlowField,
    motion_masks: FrameMaps | None,
    focal: float | None,
    initial: CameraEstimate | None,
    seed: int,
    progress: Progress,
) -> CameraEstimate:
    timings: dict[str, float] = {}
    begin = time.perf_counter()
    tracks = with_revisits(track_points(flow, motion_masks, progress=progress), flow, motion_masks)
    timings["tracking points"] = time.perf_counter() - begin
    begin = time.perf_counter()
    count = tracks.frame_count
    center = (tracks.width / 2, tracks.height / 2)
    longest = max(tracks.width, tracks.height)
    focal_prior = (longest, FOCAL_SPREAD)
    warnings: list[str] = []
    if not tracks.hosts:
        geometry = Geometry([], [], [], identity_poses(count, focal or longest), np.zeros(count, bool), center)
        warnings.append("There is too little texture to follow any point; all frames share one camera.")
        return _finished(flow, tracks, geometry, "static_camera", False, warnings, timings)

    rotating = rotation_geometry(tracks.hosts, count, center, focal, focal_prior)
    rotating.registered = _observed(tracks)
    if is_still(rotating):
        warnings.append("The camera does not move in this clip; depth cannot be measured and is only plausible.")
        timings["solving for cameras"] = time.perf_counter() - begin
        return _finished(
            flow, tracks, still_geometry(rotating, focal or longest), "static_camera", False, warnings, timings
        )

    candidates: list[Geometry] = []
    # under another focal length everything else is different too
    if (
        initial is not None
        and initial.has_translation
        and len(initial.cameras) == count
        and (focal is None or abs(np.log(focal / initial.cameras[0].fx)) < 0.02)
    ):
        candidates.append(
            refined(
                _poses_of(initial, focal),
                initial.measured,
                tracks.hosts,
                center,
                focal is not None,
                focal_prior,
                progress,
            )
        )
    method = "bundle_adjustment"
    if not candidates or _is_doubtful(candidates[0]):
        solved = solve(tracks.hosts, count, center, focal, focal_prior, seed, progress)
        candidates += [solved] if solved is not None else []
    geometry = best_of([candidate for candidate in candidates if candidate.hosts])
    if geometry is not None and not geometry.registered.all():
        geometry = _with_lost_parts(geometry, tracks, focal_prior, seed, warnings)
    if (geometry is None or _is_doubtful(geometry)) and 3 <= count <= 200:
        started = time.perf_counter()
        progress("asking for a second opinion", 0, 1)
        opinion = pycolmap_cameras(flow.frames, motion_masks, focal=focal, seed=seed)
        if opinion is not None and len(opinion.frames) >= 3:
            other = _from_opinion(opinion, tracks, center, focal, focal_prior, progress)
            better = best_of([one for one in (geometry, other) if one is not None])
            method = "pycolmap" if better is other else method
            geometry = better
        timings["second opinion"] = time.perf_counter() - started
    if geometry is None or (geometry.registered.mean() > 0.5 and only_rotates(geometry, rotating)):
        warnings.append("The camera only turns, or moves too little to tell; depth is only plausible.")
        timings["solving for cameras"] = time.perf_counter() - begin
        geometry = rotating
        _bridged(geometry, warnings)
        return _finished(flow, tracks, geometry, "rotation_only", False, warnings, timings)
    if _bridged(geometry, warnings):
        method = "bridged"
    timings["solving for cameras"] = time.perf_counter() - begin
    return _finished(flow, tracks, geometry, method, True, warnings, timings)


def _observed(tracks: Tracks) -> np.ndarray:
    """(F,) bool: frames in which enough tracks are seen for a pose."""
    seen = np.zeros(tracks.frame_count, int)
    for host in tracks.hosts:
        seen[host.host] += host.count
        seen[host.frames] += host.visible.sum(1)
    return seen >= 8


def _is_doubtful(geometry: Geometry) -> bool:
    """Whether another opinion is worth its time: frames missing, large errors, or few tracks that agree."""
    if not geometry.hosts or geometry.registered.mean() < 0.8:
        return True
    static = np.concatenate(geometry.track_weights) > 0.25
    return geometry.scale > 0.6 or float(static.mean()) < 0.4


def _poses_of(estimate: CameraEstimate, focal: float | None) -> Poses:
    matrices = np.stack([camera.camera_from_world for camera in estimate.cameras])
    return Poses(matrices[:, :3, :3].copy(), matrices[:, :3, 3].copy(), float(focal or estimate.cameras[0].fx))


def _from_opinion(opinion: SecondOpinion, tracks: Tracks, center, focal, focal_prior, progress) -> Geometry | None:
    """pycolmap's model on our own tracks, grown over the frames that it lacks."""
    poses = identity_poses(tracks.frame_count, focal or opinion.focal)
    poses.rotations[opinion.frames], poses.translations[opinion.frames] = opinion.rotations, opinion.translations
    registered = np.zeros(tracks.frame_count, bool)
    registered[opinion.frames] = True
    start = geometry_from_poses(poses, registered, tracks.hosts, center)
    if not start.hosts:
        return None
    grown = grow(start, tracks.hosts, focal_prior=focal_prior, free_focal=focal is None, progress=progress)
    refine_registered(grown, focal_prior, free_focal=focal is None, rounds=3, iterations=8)
    return grown


def _bridged(geometry: Geometry, warnings: list[str]) -> bool:
    missing = np.flatnonzero(~geometry.registered)
    if len(missing) == 0:
        return False
    bridge(geometry.poses, geometry.registered)
    warnings.append(
        f"{len(missing)} of {len(geometry.registered)} frames could not be measured and got cameras from their "
        f"neighbours (first: frame {missing[0]})."
    )
    return True


def _with_lost_parts(geometry: Geometry, tracks: Tracks, focal_prior, seed: int, warnings: list[str]) -> Geometry:
    """Longer runs of frames that nothing connects with the rest (cuts, very fast motion), each solved on its own and
    put where the nearest measured camera is, at the same median depth."""
    for begin, end in runs(~geometry.registered):
        if end - begin < 6:
            continue
        inner = []
        for host in tracks.hosts:
            if begin <= host.host < end:
                kept = host.subset(frames=np.flatnonzero((host.frames >= begin) & (host.frames < end)))
                if len(kept.frames):
                    inner.append(replace(kept, host=host.host - begin, frames=kept.frames - begin))
        focal = geometry.poses.focal
        part = solve(inner, end - begin, geometry.center, focal, focal_prior, seed) if inner else None
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
            geometry.hosts.append(replace(host, host=host.host + begin, frames=host.frames + begin))
            geometry.inverse_depths.append(inverse_depth / scale)
            geometry.track_weights.append(weight)
        warnings.append(
            f"Frames {begin} to {end - 1} have nothing in common with the rest (a cut, or very fast motion); they were "
            f"solved on their own and put next to frame {anchor}."
        )
    return geometry


def _median_depth(geometry: Geometry) -> float:
    return 1 / max(float(np.median(np.concatenate(geometry.inverse_depths))), 1e-12)


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
        if not has_translation:
            inverse_depth, information = np.full(host.count, 1 / MEDIAN_DEPTH), np.full(host.count, MEDIAN_DEPTH**2)
        rows = np.flatnonzero(static)
        numbers = np.full(host.count, -1)
        numbers[rows] = point_count + np.arange(len(rows))
        point_count += len(rows)
        sigma = 1 / np.sqrt(information + 1e-12)
        rays = np.column_stack([(host.host_pixels - np.asarray(geometry.center)) / poses.focal, np.ones(host.count)])
        in_camera = rays[rows] / np.maximum(inverse_depth[rows], 1e-9)[:, None]
        positions.append((in_camera - translations[host.host]) @ rotations[host.host])
        image = flow.frames.rgb8(host.host)
        place = np.clip(host.host_pixels[rows].astype(int), 0, [tracks.width - 1, tracks.height - 1])
        colors.append(image[place[:, 1], place[:, 0]])
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

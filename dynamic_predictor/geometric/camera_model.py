"""The choice of the camera model: one focal length, one of every frame (zoom), or a lens with a radial term.

A richer model always fits better, so a clip keeps the simplest one unless the gain pays for its parameters: by the
Bayesian information criterion (Schwarz, Annals of Statistics 1978), N log(error) + P log(N), with the number of static
tracks as N. The observations of one track are not independent: its errors are mostly those of the patch in the host
frame, so that with the number of observations as N every gain would be significant. Beyond that, effect and gain have
least sizes, because tracking errors are systematic.

A zoom in a clip with a moving camera is not found from the cameras of one focal length, which take it for a motion
along the view axis. Its course over the frames is found first, by rotations and focal lengths without translation; the
clip is then solved on tracks from which it is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dynamic_predictor.geometric.bundle_adjustment import adjust
from dynamic_predictor.geometric.camera_hypotheses import (
    geometry_from_poses,
    keyframe_tracks,
    keyframes_of,
    rotations_between_keyframes,
    solve_cameras,
    with_other_frames,
)
from dynamic_predictor.geometric.fallback import STATIC_JITTER, median_error
from dynamic_predictor.geometric.geometry import SMALLEST_SCALE, Geometry, thinned_tracks, track_weights
from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.reprojection import Problem, noise_scale, residual_norms, robust_cost
from dynamic_predictor.geometric.tracks import HostTracks
from scene.progress import Progress, ignore_progress

CameraModel = Literal["pinhole", "zoom", "perspective", "equidistant"]
#: largest number of tracks per host for the comparison
_TRACKS_PER_HOST = 60
#: smallest ratio of the largest to the smallest focal length of a zoom. In ten clips without a zoom, some with much
#: motion along the view axis, rotations and focal lengths alone gave up to 1.10, and with the cameras up to 1.06
_SMALLEST_ZOOM_WITHOUT_TRANSLATION, SMALLEST_ZOOM = 1.12, 1.1
#: smallest ratio of the errors without and with the richer model. In ten clips of pinhole cameras, a radial term gave
#: up to 1.03
_SMALLEST_GAIN = 1.06
#: the same for a look at further models
_PROMISING_GAIN = 1.02
#: a camera that zooms does not move if, between frames whose focal lengths differ by less than this (a logarithm), zoom
#: and rotations leave the jitter of a camera that stands still or this multiple of the error of a moving camera, and
#: if they leave at most this share of what rotations alone leave. Tracking errors grow with the zoom, because patches
#: are not scaled: measured for a tripod 0.10 pixels, 1.6 times and 5 %; for a camera that moves 0.27, 2.3 times, 16 %
_ALIKE, _AS_GOOD, _LEFT = 0.05, 1.5, 0.1


@dataclass
class FittedModel:
    """A camera model fitted to the tracks of a geometry."""

    model: CameraModel
    geometry: Geometry
    #: mean robust cost per observation of static tracks, at the noise of the best model
    cost: float = np.inf
    #: the information criterion
    criterion: float = np.inf


@dataclass
class ChosenCameras:
    """The geometries with and without translation under the chosen model, which are the given ones for "pinhole"."""

    model: CameraModel
    geometry: Geometry | None
    rotating: Geometry
    #: the camera zooms and turns, but does not move
    zooms_in_place: bool = False

    def warnings(self, known_focal: float | None) -> list[str]:
        """What a person should know about the model; with a known focal length, the model is not used."""
        geometry = self.rotating if self.zooms_in_place else self.geometry
        if self.model == "pinhole" or geometry is None:
            return []
        if known_focal is not None:
            what = "the focal length changes" if self.model == "zoom" else "the lens distorts"
            return [
                f"It looks as if {what} in this clip, but the angle of view was given and is kept for all frames; "
                "cameras and depth may be wrong."
            ]
        poses = geometry.poses
        if poses.zoom is not None:
            focals = poses.focal * np.exp(poses.zoom[geometry.registered])
            moves = "; the camera does not move, so that depth is only plausible" if self.zooms_in_place else ""
            return [
                f"The lens zooms in this clip: each frame has a focal length of its own, from {focals.min():.0f} to "
                f"{focals.max():.0f} pixels{moves}."
            ]
        assert poses.radial is not None
        kind = "fisheye (equidistant)" if self.model == "equidistant" else "radial"
        return [
            f"The lens distorts: a {kind} lens with a focal length of {poses.focal:.0f} pixels and k1 = "
            f"{poses.radial.coefficient:.3f} was found, and the frames are undistorted."
        ]


def choose_camera_model(
    geometry: Geometry | None,
    rotating: Geometry,
    hosts: list[HostTracks],
    focal_prior: tuple[float, float],
    *,
    lens: bool = True,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ChosenCameras:
    """The camera model that the tracks ask for. `geometry` was solved with one focal length (None: it could not be),
    or has the zoom of an earlier choice; `rotating` explains the tracks as far as rotations can. With `lens` off no
    radial term is looked for."""
    total = sum(host.count for host in hosts)
    turning = fitted_models(thinned_geometry(rotating), total, focal_prior, ["pinhole", "zoom"], rotates=True)
    zooming = _accepted(turning, least_zoom=_SMALLEST_ZOOM_WITHOUT_TRANSLATION)
    starts = [] if geometry is None else [geometry]
    if zooming.model == "zoom" and (geometry is None or geometry.poses.zoom is None):
        solved = _solved_without_zoom(zooming.geometry, hosts, focal_prior, seed, progress)
        starts += [] if solved is None else [solved]
    fits: list[FittedModel] = []
    for start in starts:
        thin = thinned_geometry(start)
        models: list[CameraModel] = ["pinhole"]
        if zooming.model == "zoom" or start.poses.zoom is not None:
            models.append("zoom")
        if lens:
            models.append("perspective")
        fits += fitted_models(thin, total, focal_prior, models)
        if lens and _gain(fits, "perspective") > _PROMISING_GAIN:
            fits += fitted_models(thin, total, focal_prior, ["equidistant"])
    chosen = _accepted(_compared(fits, total)) if fits else zooming
    best = min(fits, key=lambda fit: fit.cost).geometry if fits else None
    if zooming.model == "zoom" and _zooms_in_place(zooming.geometry, thinned_geometry(rotating), best):
        refined = _with_all_tracks(zooming.geometry, hosts, focal_prior, progress, rotates=True)
        return ChosenCameras("zoom", geometry, refined, zooms_in_place=True)
    if not fits or (chosen.model == "pinhole" and geometry is not None and geometry.poses.zoom is None):
        return ChosenCameras("pinhole", geometry, rotating)
    return ChosenCameras(chosen.model, _with_all_tracks(chosen.geometry, hosts, focal_prior, progress), rotating)


def fitted_models(
    geometry: Geometry,
    track_count: int,
    focal_prior: tuple[float, float],
    models: Sequence[CameraModel],
    *,
    rotates: bool = False,
) -> list[FittedModel]:
    """`models` fitted to a geometry with some of the `track_count` tracks of a clip, the one of the least criterion
    first. `rotates`: the camera has no translation, and the inverse depths do not matter."""
    found = []
    for model in models:
        poses = geometry.poses.copy()
        zoom, radial = None, None
        if model == "zoom":
            zoom = np.zeros(len(poses.rotations)) if poses.zoom is None else poses.zoom
        elif model != "pinhole":
            same = poses.radial is not None and poses.radial.family == model
            radial = poses.radial if same else RadialTerm(model, 0.0)
        start = replace(geometry, poses=replace(poses, zoom=zoom, radial=radial))
        found.append(FittedModel(model, _refitted(start, focal_prior, rotates=rotates)))
    return _compared(found, track_count)


def _compared(fits: list[FittedModel], track_count: int) -> list[FittedModel]:
    """The fits with comparable costs, sorted by their criterion. A track that one of them explains is static."""
    scale = max(min(fit.geometry.scale for fit in fits), SMALLEST_SCALE)
    static: dict[int, np.ndarray] = {}
    for fit in fits:
        for host, weight in zip(fit.geometry.hosts, fit.geometry.track_weights, strict=True):
            static[host.host] = np.maximum(static.get(host.host, 0.0), weight)
    for fit in fits:
        part = fit.geometry
        weights = [static[host.host] for host in part.hosts]
        problem = Problem(part.hosts, part.inverse_depths, weights, part.center)
        fit.cost = robust_cost(residual_norms(problem, part.poses, part.inverse_depths), problem, scale)
        share = float(np.mean(np.concatenate(weights) > 0.25))
        tracks = max(share * track_count, 2.0)
        parameters = {"pinhole": 0, "zoom": int(part.registered.sum()) - 1}.get(fit.model, 1)
        fit.criterion = tracks * np.log(max(fit.cost, 1e-12)) + parameters * np.log(tracks)
    return sorted(fits, key=lambda fit: fit.criterion)


def _accepted(fits: list[FittedModel], least_zoom: float = SMALLEST_ZOOM) -> FittedModel:
    """The first of the fits that are sorted by their criterion whose effect and gain are large enough."""
    simple = min((fit for fit in fits if fit.model == "pinhole"), key=lambda fit: fit.criterion)
    for fit in fits:
        if fit.criterion >= simple.criterion:
            break
        zoom = fit.geometry.poses.zoom
        is_large = zoom is None or np.ptp(zoom[fit.geometry.registered]) > np.log(least_zoom)
        if is_large and simple.cost / fit.cost > _SMALLEST_GAIN:
            return fit
    return simple


def _gain(fits: list[FittedModel], model: CameraModel) -> float:
    """The error of the pinhole camera over that of `model`."""
    costs = {fit.model: fit.cost for fit in reversed(fits)}
    return costs["pinhole"] / max(costs[model], 1e-12)


def _zooms_in_place(zooming: Geometry, rotating: Geometry, moving: Geometry | None) -> bool:
    """Whether zoom and rotations explain the tracks without a motion of the camera."""
    if median_error(zooming) > _LEFT * median_error(rotating):
        return False
    zoom = zooming.poses.zoom
    assert zoom is not None

    def error_between_alike(geometry: Geometry) -> float:
        hosts = []
        for host in geometry.hosts:
            difference = np.abs(zoom[host.frames] - zoom[host.host])
            # a fast zoom has no frames that alike: then the most alike ones count
            alike = difference < max(_ALIKE, 1.05 * float(difference.min()))
            hosts.append(replace(host, visible=host.visible & alike[:, None]))
        return median_error(replace(geometry, hosts=hosts))

    tolerance = STATIC_JITTER if moving is None else max(STATIC_JITTER, _AS_GOOD * error_between_alike(moving))
    return error_between_alike(zooming) < tolerance


def _solved_without_zoom(
    zooming: Geometry, hosts: list[HostTracks], focal_prior: tuple[float, float], seed: int, progress: Progress
) -> Geometry | None:
    """The clip solved on tracks from which the course of the zoom is removed; None if it cannot be solved."""
    assert zooming.poses.zoom is not None
    count = max(max(host.host, int(host.frames.max())) for host in hosts) + 1
    keyframes = keyframes_of(count)
    zoom = np.interp(np.arange(count), keyframes, zooming.poses.zoom - zooming.poses.zoom.mean())
    center = np.asarray(zooming.center)
    steady = []
    for host in hosts:
        of_frames = np.exp(-zoom[host.frames])[:, None, None]
        steady.append(
            replace(
                host,
                host_pixels=(host.host_pixels - center) * np.exp(-zoom[host.host]) + center,
                pixels=(host.pixels - center) * of_frames + center,
            )
        )
    solved = solve_cameras(steady, count, zooming.center, None, focal_prior, seed, progress)
    if solved is None:
        return None
    original = {host.host: host for host in hosts}
    kept = [original[host.host] for host in solved.hosts]
    return replace(solved, hosts=kept, poses=replace(solved.poses, zoom=zoom))


def thinned_geometry(geometry: Geometry) -> Geometry:
    """Some of the tracks of a geometry, evenly spread over the images, in its keyframes, which are numbered anew."""
    count = len(geometry.registered)
    keyframes = keyframes_of(count)
    number = np.full(count, -1)
    number[keyframes] = np.arange(len(keyframes))
    hosts, depths, weights = [], [], []
    for host, depth, weight in zip(geometry.hosts, geometry.inverse_depths, geometry.track_weights, strict=True):
        is_key = number[host.frames] >= 0
        if number[host.host] < 0 or not is_key.any():
            continue
        chosen = thinned_tracks(host, _TRACKS_PER_HOST)
        kept = host.subset(tracks=chosen, frames=is_key)
        hosts.append(replace(kept, host=int(number[host.host]), frames=number[kept.frames]))
        depths.append(depth[chosen])
        weights.append(weight[chosen])
    registered = geometry.registered[keyframes]
    return replace(
        geometry,
        hosts=hosts,
        inverse_depths=depths,
        track_weights=weights,
        poses=geometry.poses.at(keyframes),
        registered=registered,
    )


def _refitted(geometry: Geometry, focal_prior: tuple[float, float], *, rotates: bool, rounds: int = 3) -> Geometry:
    """Bundle adjustment with the intrinsics that the poses have, in rounds with new noise and weights."""
    poses, depths, weights = geometry.poses, geometry.inverse_depths, geometry.track_weights
    scale = geometry.scale
    for index in range(rounds + 1):
        norms = residual_norms(Problem(geometry.hosts, depths, weights, geometry.center), poses, depths)
        scale = max(noise_scale(norms, weights), SMALLEST_SCALE)
        weights = track_weights(norms, scale)
        if index == rounds:
            break
        solution = adjust(
            Problem(geometry.hosts, depths, weights, geometry.center),
            poses,
            depths,
            scale=scale,
            iterations=12,
            free_frames=geometry.registered,
            free_translation=not rotates,
            free_depth=not rotates,
            focal_prior=focal_prior,
            depth_prior=0.0 if rotates else 1e-3,
        )
        poses, depths = solution.poses, solution.inverse_depths
    return replace(geometry, poses=poses, inverse_depths=depths, track_weights=weights, scale=scale)


def _with_all_tracks(
    thin: Geometry, hosts: list[HostTracks], focal_prior: tuple[float, float], progress: Progress, *, rotates=False
) -> Geometry:
    """A fitted geometry of keyframes with all tracks and all frames."""
    count = max(max(host.host, int(host.frames.max())) for host in hosts) + 1
    keyframes, short = keyframe_tracks(hosts, count)
    if rotates:
        depths = [np.zeros(host.count) for host in short]
        full = replace(thin, hosts=short, inverse_depths=depths, track_weights=[np.ones(host.count) for host in short])
    else:
        full = geometry_from_poses(thin.poses, thin.registered, short, thin.center)
    full = _refitted(full, focal_prior, rotates=rotates)
    if len(keyframes) == count:
        return full
    if rotates:
        return rotations_between_keyframes(full, hosts, keyframes, count)
    return with_other_frames(full, hosts, keyframes, count, progress)

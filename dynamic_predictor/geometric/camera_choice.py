"""Which of the motions in a clip is the camera's.

The tracks of one rigid, large moving object can be explained by a camera as well as those of the background, and better
if the background is deep. The least reprojection error then chooses the object, or takes both for one static world.
Three other cues decide: the order of occlusion, the border of the picture, which shows the background more often than
an object, and the focal length.
"""

import numpy as np

from dynamic_predictor.geometric.camera_hypotheses import geometry_from_poses, solve_cameras
from dynamic_predictor.geometric.geometry import SMALLEST_SCALE, Geometry
from dynamic_predictor.geometric.incremental_mapping import refine_registered
from dynamic_predictor.geometric.occlusion_order import STATIC_WEIGHT, OcclusionOrder, occlusion_order
from dynamic_predictor.geometric.tracks import HostTracks
from scene.progress import Progress, ignore_progress

#: width of the border of the picture, as a share of its sides: with it, half of the picture is border
_BORDER = 0.15
#: standard deviation of the logarithm of plausible focal lengths around the longer image side
_FOCAL_SPREAD = 0.8
#: plausibility below which other hypotheses are tried; ordinary clips have about 0.7
_DOUBTFUL = 0.5
#: another hypothesis has to be this much more plausible, and its errors may be larger by this factor. In eight clips
#: that the least error decided rightly, hypotheses with more objects in the static world were up to 2.3 times as
#: plausible, with 1.27 times the errors and more; in seven others, the right ones had 0.2 to 1.05 times the errors
_CLEARLY_BETTER, _LARGEST_ERROR = 1.25, 1.15
#: a hypothesis with no larger errors that explains this many times the tracks is chosen even if it is less plausible,
#: by this factor at most: the search for the least error has missed it
_MANY_MORE_TRACKS, _LITTLE_WORSE = 1.5, 0.8
#: plausibility above which no further hypothesis is tried
_CERTAIN = 0.7
#: plausibility of the second best hypothesis, relative to that of the best, above which the choice is close
_CLOSE = 0.6
#: the warning where the choice is close
CLOSE_CHOICE = (
    "It is not certain which motion in this clip is the camera's: a large object that moves, and the background, "
    "explain it about equally well. Look at the motion masks; if they show the background, give masks of your own "
    "(--masks)."
)
#: fewest tracks of a host, and smallest share of all tracks, that a hypothesis is built on
_FEWEST_TRACKS, _SMALLEST_SHARE = 8, 0.2


def plausibility(geometry: Geometry, order: OcclusionOrder | None = None) -> float:
    """How plausible it is, in [0, 1], that the static world of `geometry` is the background: the share of the tracks at
    the border of the picture that are static, times the share of occlusions in the right order (`order`, computed if it
    is not given), times a broad distribution of focal lengths."""
    order = order or occlusion_order(geometry)
    at_border = [_at_border(host, geometry.center) for host in geometry.hosts]
    static = [weight[chosen] > STATIC_WEIGHT for weight, chosen in zip(geometry.track_weights, at_border, strict=True)]
    border = np.concatenate(static) if static else np.zeros(0, bool)
    if len(border) < _FEWEST_TRACKS:
        border = np.concatenate(geometry.track_weights) > STATIC_WEIGHT
    focal = np.log(geometry.poses.focal / (2 * max(geometry.center))) / _FOCAL_SPREAD
    return float(border.mean() * (1.0 - order.contradiction) * np.exp(-0.5 * focal * focal))


def chosen_cameras(
    geometry: Geometry,
    hosts: list[HostTracks],
    focal: float | None,
    focal_prior: tuple[float, float],
    warnings: list[str],
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> Geometry:
    """`geometry`, the solution with the least reprojection error for the tracks `hosts`, if it is plausible. Otherwise
    the most plausible one of it and of solutions for the tracks that it does not explain or that contradict its order
    of depth, which must explain their tracks with no larger errors, and one of these that explains many more tracks
    with no larger errors, even if it is a little less plausible. Adds a sentence to `warnings` where the choice is
    close.

    `focal` (pixels, None: unknown) and `focal_prior` as in `camera_hypotheses.solve_cameras`.
    """
    order = occlusion_order(geometry)
    found = [(plausibility(geometry, order), geometry)]
    if found[0][0] >= _DOUBTFUL:
        return geometry
    count = len(geometry.registered)
    for subset in _other_motions(geometry, hosts, order):
        other = solve_cameras(subset, count, geometry.center, focal, focal_prior, seed, progress)
        if other is not None and other.registered.sum() >= geometry.registered.sum():
            whole = geometry_from_poses(other.poses, other.registered, hosts, other.center)
            whole.scale = other.scale
            refine_registered(whole, focal_prior, free_focal=focal is None, rounds=3, iterations=8)
            if whole.scale <= _LARGEST_ERROR * max(geometry.scale, SMALLEST_SCALE):
                found.append((plausibility(whole), whole))
        if found[-1][0] > _CERTAIN:
            break
    best, chosen = best_hypothesis(found)
    if any(value > _CLOSE * best and _differs(chosen, other) for value, other in found):
        warnings.append(CLOSE_CHOICE)
    return chosen


def best_hypothesis(found: list[tuple[float, Geometry]]) -> tuple[float, Geometry]:
    """The best of several hypotheses with their plausibilities, of which the first has the least error that the search
    has found. Another one has to be clearly more plausible, or to explain many more tracks with no larger errors."""
    first = found[0]
    best = max(found, key=lambda candidate: candidate[0])
    if best[0] >= _CLEARLY_BETTER * first[0]:
        return best
    better = [
        (value, other)
        for value, other in found[1:]
        if other.scale <= first[1].scale
        and _static_share(other) > _MANY_MORE_TRACKS * _static_share(first[1])
        and value > _LITTLE_WORSE * first[0]
    ]
    return max(better, key=lambda candidate: _static_share(candidate[1]), default=first)


def static_tracks(geometry: Geometry) -> list[HostTracks]:
    """The tracks of `geometry` that belong to its static world."""
    kept = [
        host.subset(tracks=weight > STATIC_WEIGHT)
        for host, weight in zip(geometry.hosts, geometry.track_weights, strict=True)
    ]
    return [host for host in kept if host.count]


def _other_motions(geometry: Geometry, hosts: list[HostTracks], order: OcclusionOrder) -> list[list[HostTracks]]:
    """Sets of tracks that may show the background if the static world of `geometry` does not."""
    weights = {host.host: weight for host, weight in zip(geometry.hosts, geometry.track_weights, strict=True)}
    depths = {host.host: depth for host, depth in zip(geometry.hosts, geometry.inverse_depths, strict=True)}
    sets = []
    if order.contradiction > 0.3:
        # what covers nearer points is an object: everything that is as far as it seems to be is left out
        limit = np.sqrt(np.median(order.covered) * max(float(np.median(order.covering)), 1e-12))
        sets.append([_subset(host, depths[host.host] > limit) for host in hosts if host.host in depths])
    sets.append([_subset(host, weights[host.host] <= STATIC_WEIGHT) for host in hosts if host.host in weights])
    sets.append([_subset(host, _at_border(host, geometry.center)) for host in hosts])
    fewest = _SMALLEST_SHARE * sum(host.count for host in hosts)
    sets = [[host for host in part if host.count >= _FEWEST_TRACKS] for part in sets]
    return [part for part in sets if sum(host.count for host in part) > fewest]


def _static_share(geometry: Geometry) -> float:
    """The share of the tracks that belong to the static world."""
    return float((np.concatenate(geometry.track_weights) > STATIC_WEIGHT).mean())


def _subset(host: HostTracks, tracks: np.ndarray) -> HostTracks:
    """The `tracks` (T,) bool of the host; none if their number is not that of the host."""
    return host.subset(tracks=tracks if len(tracks) == host.count else np.zeros(host.count, bool))


def _at_border(host: HostTracks, center: tuple[float, float]) -> np.ndarray:
    """(T,) bool: the tracks that start at the border of the picture."""
    place = host.host_pixels / (2 * np.asarray(center))
    return np.any((place < _BORDER) | (place > 1 - _BORDER), axis=1)


def _differs(one: Geometry, other: Geometry) -> bool:
    """Whether the two geometries take different tracks for static."""
    common = {host.host: weight for host, weight in zip(other.hosts, other.track_weights, strict=True)}
    different, count = 0, 0
    for host, weight in zip(one.hosts, one.track_weights, strict=True):
        if host.host in common and len(common[host.host]) == len(weight):
            different += int(((weight > STATIC_WEIGHT) != (common[host.host] > STATIC_WEIGHT)).sum())
            count += len(weight)
    return different > 0.15 * max(count, 1)

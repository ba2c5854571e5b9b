"""The state of structure from motion: poses of all frames, and tracks with their inverse depths and weights."""

from dataclasses import dataclass, field, replace

import numpy as np

from dynamic_predictor.geometric.reprojection import Poses, Problem, residual_norms, robust_cost
from dynamic_predictor.geometric.tracks import HostTracks

#: smallest noise that is ever assumed, in pixels per coordinate
SMALLEST_SCALE = 0.08


@dataclass
class Geometry:
    """Tracks with, per host, their inverse depths (T,) and weights (T,; by default 1), and the poses of all frames, of
    which only the `registered` (F,) ones are solved. `center` is the principal point in pixels, `scale` the noise in
    pixels per coordinate, `cost` the robust cost per observation."""

    hosts: list[HostTracks]
    inverse_depths: list[np.ndarray]
    poses: Poses
    registered: np.ndarray
    center: tuple[float, float]
    scale: float = 1.0
    cost: float = np.inf
    track_weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.track_weights = self.track_weights or [np.ones(host.count) for host in self.hosts]

    def add(self, host: HostTracks, inverse_depth: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Appends the tracks of a host, with inverse depths (T,) and weights (T,), by default 1."""
        self.hosts.append(host)
        self.inverse_depths.append(inverse_depth)
        self.track_weights.append(np.ones(host.count) if weight is None else weight)

    def problem(self) -> Problem:
        """The tracks as input of bundle adjustment."""
        return Problem(self.hosts, self.inverse_depths, self.track_weights, self.center)


def restricted(host: HostTracks, frames: np.ndarray) -> HostTracks:
    """The host's tracks in the frames marked in `frames` (F,) bool."""
    return host.subset(frames=np.flatnonzero(frames[host.frames]))


def cut_out(hosts: list[HostTracks], begin: int, end: int) -> list[HostTracks]:
    """The tracks of the frames `begin` to `end - 1`, with these frames renumbered from 0."""
    parts = []
    for host in hosts:
        if begin <= host.host < end:
            kept = host.subset(frames=np.flatnonzero((host.frames >= begin) & (host.frames < end)))
            if len(kept.frames):
                parts.append(replace(kept, host=host.host - begin, frames=kept.frames - begin))
    return parts


def thinned(host: HostTracks, most: int) -> HostTracks:
    """At most `most` of the host's tracks, evenly spread over the image; of neighboring tracks the longest is kept."""
    return host if host.count <= most else host.subset(tracks=thinned_tracks(host, most))


def thinned_tracks(host: HostTracks, most: int) -> np.ndarray:
    """The indices of the tracks that `thinned` keeps."""
    if host.count <= most:
        return np.arange(host.count)
    length = host.visible.sum(0)
    runs = np.array_split(np.arange(host.count), most)
    return np.array([run[np.argmax(length[run])] for run in runs])


def track_weights(norms: list[np.ndarray], scale: float, softness: float = 3.0) -> list[np.ndarray]:
    """One weight per track, (T,) per host: near 0 where the track's root mean square error is far above the noise
    `scale` (pixels), as on moving objects. A Geman-McClure weight of the errors `norms` (K, T), which are clipped at 20
    times the noise."""
    weights = []
    for norm in norms:
        seen = np.isfinite(norm)
        filled = np.where(seen, norm, 0.0)
        mean_square = (np.minimum(filled, 20 * scale) ** 2).sum(0) / np.maximum(seen.sum(0), 1) / 2
        weights.append(np.where(seen.any(0), 1 / (1 + mean_square / (softness * scale) ** 2) ** 2, 0.0))
    return weights


def cost_at(geometry: Geometry, scale: float) -> float:
    """Robust cost per observation at noise `scale` (pixels), with equal weights of all tracks, so that small weights do
    not make a geometry look better."""
    problem = Problem(
        geometry.hosts, geometry.inverse_depths, [np.ones(host.count) for host in geometry.hosts], geometry.center
    )
    return robust_cost(residual_norms(problem, geometry.poses, geometry.inverse_depths), problem, scale)

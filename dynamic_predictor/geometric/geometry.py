"""What is known of a clip while its cameras are being found: poses, tracks with inverse depths and weights."""

from dataclasses import dataclass

import numpy as np

from dynamic_predictor.geometric.bundle_adjustment import Poses, Problem, residual_norms, robust_cost
from dynamic_predictor.geometric.tracks import HostTracks

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
    """At most `most` of the host's tracks, evenly over the image, the longer ones of neighbours."""
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


def cost_at(geometry: Geometry, scale: float) -> float:
    """Robust cost with all tracks weighing the same, so that giving up tracks does not look like a gain."""
    problem = Problem(
        geometry.hosts, geometry.inverse_depths, [np.ones(host.count) for host in geometry.hosts], geometry.center
    )
    return robust_cost(residual_norms(problem, geometry.poses, geometry.inverse_depths), problem, scale)

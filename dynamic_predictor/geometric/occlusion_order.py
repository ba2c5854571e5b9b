"""Occlusion order: of two static points on one pixel only the nearer is visible.

A wrong hypothesis of the camera's motion explains a large moving object as a part of the static world, most often as
its most distant part. Then points that the object covers would be in front of it and yet invisible. This contradiction,
counted over tracks, tells hypotheses apart that explain the positions of the tracks equally well.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.geometric.geometry import Geometry
from dynamic_predictor.geometric.reprojection import project_host

#: distance, as a share of the longer image side, within which two points are on the same pixel
_RADIUS = 0.02
#: ratio of inverse depths above which one of two points is certainly in front of the other
_DEPTH_RATIO = 1.5
#: tracks of smaller weight are no part of the static world
STATIC_WEIGHT = 0.25


@dataclass
class OcclusionOrder:
    """How often static tracks disappear where other static tracks are visible.

    `consistent` counts those that disappear behind nearer tracks. `covering` and `covered` (N,) are the inverse depths
    of the pairs that contradict: the covered track would be in front of the covering ones. Inverse depths are those in
    the frame, in the unit of the geometry. `observations` counts the positions of visible static tracks.
    """

    observations: int
    consistent: int
    covering: np.ndarray
    covered: np.ndarray

    @property
    def contradiction(self) -> float:
        """Share of the contradicting pairs, in [0, 1]. A few are due to tracks that were lost for other reasons; they
        count little against half a percent of the observations."""
        wrong = len(self.covering)
        return wrong / (wrong + self.consistent + 0.005 * self.observations + 1.0)


def occlusion_order(geometry: Geometry) -> OcclusionOrder:
    """The occlusion order of the static tracks of `geometry`, in its registered frames."""
    count = len(geometry.registered)
    seen: list[list[np.ndarray]] = [[] for _ in range(count)]
    gone: list[list[np.ndarray]] = [[] for _ in range(count)]
    radius = _RADIUS * 2 * max(geometry.center)
    limit = 2 * np.asarray(geometry.center) - radius
    for host, inverse_depth, weight in zip(
        geometry.hosts, geometry.inverse_depths, geometry.track_weights, strict=True
    ):
        if not geometry.registered[host.host]:
            continue
        static = weight > STATIC_WEIGHT
        pixels, z = project_host(host, inverse_depth, geometry.poses, geometry.center)
        inside = ((pixels > radius) & (pixels < limit)).all(axis=-1) & (z > 1e-2) & static
        in_frame = inverse_depth / np.maximum(z, 1e-2)
        seen[host.host].append(np.column_stack([host.host_pixels, inverse_depth])[static])
        for k, frame in enumerate(host.frames):
            if geometry.registered[frame]:
                rows = np.column_stack([pixels[k], in_frame[k]])
                seen[frame].append(rows[inside[k] & host.visible[k]])
                gone[frame].append(rows[inside[k] & ~host.visible[k]])
    observations = consistent = 0
    covering, covered = [np.zeros(0)], [np.zeros(0)]
    for seen_here, gone_here in zip(seen, gone, strict=True):
        visible = np.concatenate([np.zeros((0, 3)), *seen_here])
        missing = np.concatenate([np.zeros((0, 3)), *gone_here])
        observations += len(visible)
        if len(visible) < 3 or not len(missing):
            continue
        # three visible tracks have to agree, so that a single wrong depth does not count
        distance, nearest = KDTree(visible[:, :2]).query(missing[:, :2], k=3)
        around, own = np.median(visible[nearest, 2], axis=1), missing[:, 2]
        close = distance[:, -1] < radius
        consistent += int((close & (around > _DEPTH_RATIO * own)).sum())
        contradicts = close & (_DEPTH_RATIO * around < own)
        covering.append(around[contradicts])
        covered.append(own[contradicts])
    return OcclusionOrder(observations, consistent, np.concatenate(covering), np.concatenate(covered))

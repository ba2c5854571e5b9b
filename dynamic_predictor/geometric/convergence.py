"""The convergence test of the predictor: whether another round has changed the cameras by more than flow can
resolve."""

from dataclasses import replace

import numpy as np

from dynamic_predictor.geometric.camera_estimate import CameraEstimate
from dynamic_predictor.geometric.rigid_flow import RigidPair
from scene.scene import PointCloud

#: distance, in frames, over which rigid flow is compared
_STRIDE = 8
#: change of the rigid flow, in pixels, below which depth and motion stay the same: the noise of the flow itself
SETTLED_SHIFT = 0.25


def in_units_of(estimate: CameraEstimate, other: CameraEstimate) -> CameraEstimate:
    """`estimate` scaled to the unit of length of `other`, an estimate of the same clip: the scale that fits the camera
    centers best, where both paths start at the origin."""
    centers = np.stack([camera.center for camera in estimate.cameras])
    wanted = np.stack([camera.center for camera in other.cameras])
    power = float((centers**2).sum())
    scale = float((centers * wanted).sum()) / power if power > 0 else 1.0
    if not (estimate.has_translation and other.has_translation) or scale <= 0:
        return estimate
    cameras = []
    for camera in estimate.cameras:
        matrix = camera.world_from_camera.copy()
        matrix[:3, 3] *= scale
        cameras.append(camera.moved(matrix))
    tracks = estimate.point_tracks
    return replace(
        estimate,
        cameras=cameras,
        points=PointCloud(estimate.points.positions * np.float32(scale), estimate.points.colors),
        point_tracks=replace(tracks, inverse_depths=tracks.inverse_depths / scale),
    )


def rigid_flow_shift(before: CameraEstimate, after: CameraEstimate) -> float:
    """The distance, in pixels, between the projections of the static points of `after` under the two estimates, which
    have the same unit: from every frame into a frame `_STRIDE` later, the 90th percentile over all points and frames.
    Infinite if only one of the estimates has a translation, or if there are no points."""
    if before.has_translation != after.has_translation:
        return np.inf
    shifts = []
    count = len(after.cameras)
    stride = min(_STRIDE, count - 1)
    for index in range(count - stride):
        pixels, inverse_depths = after.point_tracks.frame(index)
        projected = []
        for estimate in (before, after):
            pair = RigidPair.between(estimate.cameras[index], estimate.cameras[index + stride])
            target = np.column_stack([pixels, np.ones(len(pixels))]) @ pair.infinity.T
            target = target + inverse_depths[:, None] * pair.parallax
            projected.append(target[:, :2] / np.maximum(target[:, 2:], 1e-6))
        shifts.append(np.linalg.norm(projected[1] - projected[0], axis=1))
    everything = np.concatenate(shifts) if shifts else np.zeros(0)
    return float(np.percentile(everything, 90)) if len(everything) else np.inf

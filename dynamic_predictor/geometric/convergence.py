"""Whether another round of cameras has changed anything that flow could tell."""

from dataclasses import replace

import numpy as np

from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.geometric.structure_from_motion import CameraEstimate
from scene.scene import PointCloud

#: frames between which rigid flow is compared
_STRIDE = 8
#: pixels of rigid flow below which depth and motion come out the same: the noise of the flow that they are made from
SETTLED_SHIFT = 0.25


def in_units_of(estimate: CameraEstimate, other: CameraEstimate) -> CameraEstimate:
    """`estimate` with its unit of length changed to that of `other`, an estimate of the same clip: so that the camera
    centres fit best, both paths beginning at their first frame."""
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
        point_tracks=replace(tracks, inverse_depths=tracks.inverse_depths / scale, sigmas=tracks.sigmas / scale),
    )


def rigid_flow_shift(before: CameraEstimate, after: CameraEstimate) -> float:
    """How far apart, in pixels, the two estimates (in the same unit) see the static points of `after` in other frames:
    the 90th percentile over all points and over pairs of frames a few apart. Infinite where one found a translation and
    the other did not, or no point is there to tell."""
    if before.has_translation != after.has_translation:
        return np.inf
    shifts = []
    count = len(after.cameras)
    stride = min(_STRIDE, count - 1)
    for index in range(count - stride):
        pixels, inverse_depths, _ = after.point_tracks.frame(index)
        seen = []
        for estimate in (before, after):
            pair = RigidPair.between(estimate.cameras[index], estimate.cameras[index + stride])
            there = np.column_stack([pixels, np.ones(len(pixels))]) @ pair.infinity.T
            there = there + inverse_depths[:, None] * pair.parallax
            seen.append(there[:, :2] / np.maximum(there[:, 2:], 1e-6))
        shifts.append(np.linalg.norm(seen[1] - seen[0], axis=1))
    everything = np.concatenate(shifts) if shifts else np.zeros(0)
    return float(np.percentile(everything, 90)) if len(everything) else np.inf

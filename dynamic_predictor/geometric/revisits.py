"""Closing loops: host points seen again in frames far away in time, when the camera comes back to a place.

Chained tracking ends after a while and drifts apart; a frame that looks like the host's is asked directly. Candidates
are found by comparing thumbnails of all frames (as in the place recognition of Milford and Wyeth, SeqSLAM, ICRA 2012,
without its sequences), and count only when dense flow there and back and the alignment of patches confirm many points.
To bundle adjustment a revisit is one more frame that the host's tracks are seen in, so the loop closes by itself.
"""

from dataclasses import replace

import cv2
import numpy as np

from dynamic_predictor.geometric.tracks import HostTracks, Tracks, aligned_points, followed_points, keyframe_stride
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.maps import FrameMaps

#: width and height of thumbnails in pixels
_THUMBNAIL = (32, 18)
#: correlation of thumbnails from which on two frames may show the same place
_ALIKE = 0.5
#: how many frames each host asks, and how far apart in frames these are at least
_ASKED, _APART = 3, 6
#: a revisit counts from this many confirmed points and this share of the host's points
_LEAST_POINTS, _LEAST_SHARE = 20, 0.15


def with_revisits(tracks: Tracks, flow: FlowField, motion_masks: FrameMaps | None = None) -> Tracks:
    """`tracks` with observations in frames that show the same place again, beyond where each host's tracks ended.
    `motion_masks` (1 = moves) keep observations off moving pixels."""
    if not tracks.hosts:
        return tracks
    thumbnails = _thumbnails(flow)
    stride = keyframe_stride(tracks.frame_count)
    asked = np.zeros(tracks.frame_count, bool)
    asked[::stride] = True
    asked[-1] = True
    hosts = []
    for host in tracks.hosts:
        likeness = thumbnails @ thumbnails[host.host]
        # what the tracks reach, and a little more, is no return
        first, last = min(host.frames[0], host.host), max(host.frames[-1], host.host)
        likeness[max(first - _APART, 0) : last + _APART + 1] = -1.0
        likeness[~asked] = -1.0
        for _ in range(_ASKED):
            candidate = int(likeness.argmax())
            if likeness[candidate] < _ALIKE:
                break
            likeness[max(candidate - _APART * stride, 0) : candidate + _APART * stride + 1] = -1.0
            host = _seen_again(host, candidate, flow, motion_masks)
        hosts.append(host)
    return replace(tracks, hosts=hosts)


def _thumbnails(flow: FlowField) -> np.ndarray:
    """(F, pixels) float32 of unit length and no mean: their products are correlations."""
    rows = []
    for index in range(len(flow)):
        small = cv2.resize(flow.gray(index), _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        # without the light that falls off slowly over the image, which all frames of a clip share
        small -= cv2.GaussianBlur(small, (0, 0), 6.0)
        rows.append(small.ravel() / max(float(np.linalg.norm(small)), 1e-6))
    return np.stack(rows)


def _seen_again(host: HostTracks, frame: int, flow: FlowField, motion_masks: FrameMaps | None) -> HostTracks:
    height, width = flow.gray(frame).shape
    points = (host.host_pixels - 0.5).astype(np.float32)
    there, error = followed_points(flow, host.host, frame, points)
    margin = 3
    inside = (there >= margin).all(axis=1) & (there <= [width - 1 - margin, height - 1 - margin]).all(axis=1)
    good = np.flatnonzero((error < 1.0) & inside)
    if len(good) < _LEAST_POINTS:
        return host
    aligned, works = aligned_points(flow, host.host, frame, points[good], there[good])
    works &= (aligned >= margin).all(axis=1) & (aligned <= [width - 1 - margin, height - 1 - margin]).all(axis=1)
    if motion_masks is not None:
        column, row = np.clip(np.rint(aligned).astype(int), 0, [width - 1, height - 1]).T
        works &= motion_masks[frame][row, column] <= 0.5
    if works.sum() < max(_LEAST_POINTS, _LEAST_SHARE * host.count):
        return host
    visible = np.zeros(host.count, bool)
    visible[good[works]] = True
    positions = there.astype(np.float64)
    positions[good[works]] = aligned[works]
    at = int(np.searchsorted(host.frames, frame))
    return replace(
        host,
        frames=np.insert(host.frames, at, frame),
        pixels=np.insert(host.pixels, at, positions + 0.5, axis=0),
        visible=np.insert(host.visible, at, visible, axis=0),
    )

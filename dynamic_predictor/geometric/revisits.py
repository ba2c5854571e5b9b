"""Loop closure: observations of host points in distant frames, for clips in which the camera returns to a place.

Chained tracks end after a while, and chained poses drift. Therefore the points of a host frame are also tracked
directly into frames that look like it. Such candidates are found by comparing thumbnails of all frames (as in Milford
and Wyeth, SeqSLAM, ICRA 2012, but of single frames instead of sequences); a candidate is used only if forward-backward
flow and patch alignment confirm many points. For bundle adjustment a revisit is a further frame of the host's tracks,
which closes the loop.
"""

from dataclasses import replace

import cv2
import numpy as np

from dynamic_predictor.geometric.tracks import (
    HostTracks,
    Tracks,
    aligned_points,
    displaced_points,
    inside_image,
    keyframe_stride,
)
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.maps import FrameMaps

#: width and height of thumbnails in pixels
_THUMBNAIL = (32, 18)
#: smallest correlation of the thumbnails of two frames that may show the same place
_LEAST_CORRELATION = 0.5
#: largest number of candidates per host, and their smallest distance from each other in frames
_MOST_CANDIDATES, _CANDIDATE_DISTANCE = 3, 6
#: smallest number of confirmed points of a revisit, and their smallest share of the points of the host
_LEAST_POINTS, _LEAST_SHARE = 20, 0.15
#: distance of observations from the image border in pixels
_MARGIN = 3


def with_revisits(
    tracks: Tracks, flow: FlowField, motion_masks: FrameMaps | None = None, zoom: np.ndarray | None = None
) -> Tracks:
    """`tracks` with additional observations in frames that show the place of a host frame again, outside the frames
    that its tracks reach. There are no observations on pixels that `motion_masks` (1 = moves) mark."""
    if not tracks.hosts:
        return tracks
    thumbnails = _thumbnails(flow)
    stride = keyframe_stride(tracks.frame_count)
    is_keyframe = np.zeros(tracks.frame_count, bool)
    is_keyframe[::stride] = True
    is_keyframe[-1] = True
    hosts = []
    for host in tracks.hosts:
        correlation = thumbnails @ thumbnails[host.host]
        # frames that the tracks reach, and a few more, are no revisits
        first, last = min(host.frames[0], host.host), max(host.frames[-1], host.host)
        correlation[max(first - _CANDIDATE_DISTANCE, 0) : last + _CANDIDATE_DISTANCE + 1] = -1.0
        correlation[~is_keyframe] = -1.0
        distance = _CANDIDATE_DISTANCE * stride
        for _ in range(_MOST_CANDIDATES):
            candidate = int(correlation.argmax())
            if correlation[candidate] < _LEAST_CORRELATION:
                break
            correlation[max(candidate - distance, 0) : candidate + distance + 1] = -1.0
            host = _with_revisit(host, candidate, flow, motion_masks, zoom)
        hosts.append(host)
    return replace(tracks, hosts=hosts)


def _thumbnails(flow: FlowField) -> np.ndarray:
    """(F, pixels) float32, each of length 1 and without its low frequencies, so that dot products are correlations."""
    rows = []
    for index in range(len(flow)):
        small = cv2.resize(flow.gray(index), _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        # without low frequencies, because slow changes of brightness over the image are common to all frames
        small -= cv2.GaussianBlur(small, (0, 0), 6.0)
        rows.append(small.ravel() / max(float(np.linalg.norm(small)), 1e-6))
    return np.stack(rows)


def _with_revisit(
    host: HostTracks, frame: int, flow: FlowField, motion_masks: FrameMaps | None, zoom: np.ndarray | None
) -> HostTracks:
    """`host` with the observations of its points in `frame`; unchanged if too few points are confirmed."""
    height, width = flow.gray(frame).shape
    points = (host.host_pixels - 0.5).astype(np.float32)
    displaced, error = displaced_points(flow, host.host, frame, points)
    good = np.flatnonzero((error < 1.0) & inside_image(displaced, width, height, _MARGIN))
    if len(good) < _LEAST_POINTS:
        return host
    aligned, success = aligned_points(flow, host.host, frame, points[good], displaced[good], zoom)
    success &= inside_image(aligned, width, height, _MARGIN)
    if motion_masks is not None:
        column, row = np.clip(np.rint(aligned).astype(int), 0, [width - 1, height - 1]).T
        success &= motion_masks[frame][row, column] <= 0.5
    if success.sum() < max(_LEAST_POINTS, _LEAST_SHARE * host.count):
        return host
    visible = np.zeros(host.count, bool)
    visible[good[success]] = True
    positions = displaced.astype(np.float64)
    positions[good[success]] = aligned[success]
    at = int(np.searchsorted(host.frames, frame))
    return replace(
        host,
        frames=np.insert(host.frames, at, frame),
        pixels=np.insert(host.pixels, at, positions + 0.5, axis=0),
        visible=np.insert(host.visible, at, visible, axis=0),
    )

"""How much the views of a scene overlap, out of their depth and cameras."""

from dataclasses import dataclass

import numpy as np

from dynamic_predictor.preparation.frames import RawFrame, nearest
from scene.camera import Camera

#: samples of depth along the long side
_SAMPLES = 24
#: a point is seen by a view whose depth there is the same up to this share
_TOLERANCE = 0.1
#: pairs with less overlap are not kept, and at most so many per frame
_LEAST, _MOST_PAIRS = 0.1, 100


@dataclass(frozen=True)
class CoarseView:
    """A small version of a view: depth (h, w), world points of its known pixels (n, 3), and the camera."""

    z_depth: np.ndarray
    points: np.ndarray
    camera: Camera


def coarse_view(frame: RawFrame) -> CoarseView:
    """The frame with at most `_SAMPLES` pixels along its long side."""
    rows, columns = frame.z_depth.shape
    scale = _SAMPLES / max(rows, columns)
    width, height = max(round(columns * scale), 1), max(round(rows * scale), 1)
    z_depth = nearest(np.where(np.isinf(frame.z_depth), np.float32(0), frame.z_depth), width, height)
    camera = Camera.from_intrinsics(columns, rows, frame.intrinsics, frame.world_from_camera).resized(width, height)
    return CoarseView(z_depth, camera.unproject(z_depth)[z_depth > 0], camera)


def overlap_pairs(views: list[CoarseView]) -> np.ndarray:
    """Pairs (first, second, overlap), float64 (N, 3): the share of the known points of the first view that the second
    sees, for pairs with an overlap of at least 0.1; the 100 best per first view."""
    pairs = []
    for first, view in enumerate(views):
        if not len(view.points):
            continue
        shares = np.array([_share_seen(view.points, other) for other in views])
        shares[first] = 0
        best = np.argsort(-shares, kind="stable")[:_MOST_PAIRS]
        pairs += [(first, int(second), float(shares[second])) for second in best if shares[second] >= _LEAST]
    return np.array(pairs, np.float64).reshape(-1, 3)


def _share_seen(points: np.ndarray, view: CoarseView) -> float:
    pixels, z = view.camera.project(points)
    columns, rows = np.floor(pixels).T
    height, width = view.z_depth.shape
    inside = (z > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    known = view.z_depth[rows[inside].astype(int), columns[inside].astype(int)]
    agrees = (known > 0) & (np.abs(z[inside] - known) <= _TOLERANCE * known)
    return float(agrees.sum()) / len(points)

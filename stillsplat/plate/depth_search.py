"""Finds things that stand still but have a wrong depth: thin and near ones, such as a pole or a cord.

A pixel that differs from what other frames show at its place may move, or its depth may be wrong. It stands still if at
some depth nearly all other frames, spread over the whole clip, show its color (plane sweep, Collins, "A space-sweep
approach to true multi-image matching", CVPR 1996). What rests only for a time agrees with some frames only.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from stillsplat.plate.warping import StaticView, plane_homography

#: depths that are tried at least and at most, evenly in inverse depth, from the far end of the scene to `nearest`; a
#: step moves a point by about a pixel
_DEPTHS = 24, 192
#: share of the frames that must agree, and the difference in [0, 1] below which one does
_SHARE, _AGREE = 0.75, 0.07
#: share of the depths at which that may be so: flat colors agree at any depth and prove nothing
_PEAKED = 0.3
#: nearer than this share of the depth of the Gaussians: at their own depth, nothing would be wrong
_NEARER = 0.85
#: frames that must have the place in their picture
_FEWEST = 4


def stands_still(
    target: StaticView, others: Sequence[StaticView], wanted: np.ndarray, nearest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bool (H, W): which of the `wanted` pixels, bool (H, W), of `target` show something that stands still at some
    depth from `nearest` on, and the depths float32 (H, W) at which `others` agree most."""
    height, width = wanted.shape
    best = np.zeros(wanted.shape, np.float32)
    often = np.zeros(wanted.shape, np.float32)
    depths = target.z_depth.copy()
    rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    if len(rows) == 0 or not others:
        return np.zeros_like(wanted), depths
    margin = 6
    top, bottom = max(0, rows[0] - margin), min(height, rows[-1] + margin + 1)
    left, right = max(0, columns[0] - margin), min(width, columns[-1] + margin + 1)
    box = np.s_[top:bottom, left:right]
    color = np.ascontiguousarray(target.image[box])
    farthest = float(target.z_depth.max())
    baseline = max(float(np.linalg.norm(other.camera.center - target.camera.center)) for other in others)
    steps = int(np.clip(target.camera.fx * baseline * (1.0 / nearest - 1.0 / farthest), *_DEPTHS))
    size = right - left, bottom - top
    everywhere = np.ones(wanted.shape, np.float32)
    corner = np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    corners = np.array([[0, size[0] - 1, 0, size[0] - 1], [0, 0, size[1] - 1, size[1] - 1], [1, 1, 1, 1]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for inverse in np.linspace(1.0 / farthest, 1.0 / nearest, steps):
        agreeing = np.zeros(color.shape[:2], np.float32)
        count = np.zeros(color.shape[:2], np.float32)
        for other in others:
            matrix = plane_homography(target.camera, other.camera, 1.0 / inverse) @ corner
            if (matrix[2] @ corners).min() <= 0:
                continue  # a part of the plane is behind the other camera
            valid = (cv2.warpPerspective(everywhere, matrix, size, flags=flags) > 0.999).astype(np.float32)
            difference = np.abs(cv2.warpPerspective(other.image, matrix, size, flags=flags) - color).max(axis=-1)
            difference = cv2.blur(difference, (3, 3))
            agreeing += valid * (difference < _AGREE)
            count += valid
        share = np.where(count >= min(_FEWEST, len(others)), agreeing / np.maximum(count, 1.0), 0.0)
        often[box] += (share >= _SHARE) * np.float32(1.0 / steps)
        better = share > best[box]
        best[box][better] = share[better]
        depths[box][better] = 1.0 / inverse
    found = (best >= _SHARE) & (often <= _PEAKED) & (depths < _NEARER * target.z_depth) & wanted
    return cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, depths

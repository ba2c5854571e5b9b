"""Two-view geometry: relative pose and depths of matched pixels from the essential matrix."""

import cv2
import numpy as np

from scene.option import LARGEST_INTEGER


def two_view_pose(
    first: np.ndarray, second: np.ndarray, focal: float, center: tuple[float, float], seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The pose `second_from_first` from matched pixels `first` and `second` (N, 2): rotation (3, 3), translation (3,)
    of length 1, and z depths (N,) of the matches in the first view (NaN for outliers). None if no pose is found.

    Five-point RANSAC (Nister, PAMI 2004); of its solutions the pose with most points in front of both cameras.
    """
    if len(first) < 12:
        return None
    one, two = (first - center) / focal, (second - center) / focal
    cv2.setRNGSeed(seed % LARGEST_INTEGER + 1)
    essential, inliers = cv2.findEssentialMat(one, two, np.eye(3), cv2.RANSAC, 0.999, 0.7 / focal, 2000)
    if essential is None or essential.shape[0] < 3 or inliers is None:
        return None
    best = None
    inlier = inliers.ravel() > 0
    for start in range(0, essential.shape[0] - 2, 3):
        count, rotation, translation, _ = cv2.recoverPose(
            np.ascontiguousarray(essential[start : start + 3]), one, two, np.eye(3), mask=inliers.copy()
        )
        if best is None or count > best[0]:
            best = (count, rotation, translation.ravel())
    if best is None:
        return None
    _, rotation, translation = best
    depth = _depths(one, two, rotation, translation)
    return rotation, translation, np.where(inlier & (depth > 0.5) & (depth < 1e4), depth, np.nan)


def _depths(one: np.ndarray, two: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """z depth (N,) in the first view by least squares on `two x (R one d + t) = 0`."""
    ray = np.column_stack([one, np.ones(len(one))]) @ rotation.T
    other = np.column_stack([two, np.ones(len(two))])
    left = np.cross(other, ray)
    right = np.cross(other, translation[None])
    denominator = (left**2).sum(1)
    return -(left * right).sum(1) / np.where(denominator < 1e-18, 1e-18, denominator)

"""The area under the accuracy curve of the relative poses of all pairs of views, by two definitions: that of
PoseDiffusion (Wang et al., ICCV 2023) and VGGT (Wang et al., CVPR 2025), and that of Depth Anything 3's benchmark.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from dynamic_predictor.depth_anything3.pose_alignment import homogeneous
from scene.trajectory import rotation_angle

#: upper limits of the areas, in degrees
AUC_LIMITS = (3, 5, 15, 30)
#: the relative pose of views a and b. "vggt": camera_from_world[a] @ inverse(camera_from_world[b]). "da3":
#: inverse(camera_from_world[a]) @ camera_from_world[b] in the world of the first camera
PairDefinition = Literal["da3", "vggt"]


@dataclass(frozen=True)
class PairPoseScores:
    """Areas under the accuracy curve up to 3, 5, 15 and 30 degrees, in [0, 1]; larger is better."""

    auc_3: float
    auc_5: float
    auc_15: float
    auc_30: float
    pairs: int


def score_pair_poses(
    camera_from_world: np.ndarray, true_camera_from_world: np.ndarray, definition: PairDefinition = "da3"
) -> PairPoseScores:
    """Scores of predicted against true cameras (N, 3 or 4, 4). Raises `ValueError` for fewer than two."""
    return scores_of_pairs(*pair_errors(camera_from_world, true_camera_from_world, definition))


def scores_of_pairs(rotation: np.ndarray, translation: np.ndarray) -> PairPoseScores:
    """Scores of the errors (K,), in degrees, of pairs, which may be of several sets of views."""
    areas = (area_under_curve(rotation, translation, limit) for limit in AUC_LIMITS)
    return PairPoseScores(*areas, pairs=len(rotation))


def pair_errors(
    camera_from_world: np.ndarray, true_camera_from_world: np.ndarray, definition: PairDefinition = "da3"
) -> tuple[np.ndarray, np.ndarray]:
    """Errors, in degrees, of the relative rotation and of the direction of the relative translation, each (K,), for all
    pairs of views in the order of `itertools.combinations`. Opposite directions count as equal."""
    predicted, true = homogeneous(camera_from_world), homogeneous(true_camera_from_world)
    if len(predicted) != len(true) or len(predicted) < 2:
        raise ValueError(f"{len(predicted)} cameras for {len(true)} true ones; at least two of each are needed")
    first, second = np.array(list(combinations(range(len(true)), 2))).T
    if definition == "vggt":
        steps = [cameras[first] @ np.linalg.inv(cameras[second]) for cameras in (predicted, true)]
    else:
        relative = [cameras @ np.linalg.inv(cameras[:1]) for cameras in (predicted, true)]
        steps = [np.linalg.inv(poses[first]) @ poses[second] for poses in relative]
    difference = steps[0][:, :3, :3] @ steps[1][:, :3, :3].transpose(0, 2, 1)
    return np.degrees(rotation_angle(difference)), _direction_errors(steps[0][:, :3, 3], steps[1][:, :3, 3])


def area_under_curve(rotation_errors: np.ndarray, translation_errors: np.ndarray, limit: int) -> float:
    """The share of pairs with both errors below d degrees, averaged over d = 1, ..., `limit`."""
    larger = np.maximum(rotation_errors, translation_errors)
    counts, _ = np.histogram(larger, bins=np.arange(limit + 1))
    return float(np.cumsum(counts).mean() / len(larger))


def _direction_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angles in [0, 90] degrees between the lines along vectors (K, 3); 90 where a vector is zero."""
    across = np.linalg.norm(np.cross(predicted, true), axis=1)
    along = np.abs((predicted * true).sum(axis=1))
    angles = np.degrees(np.arctan2(across, along))
    return np.where((across == 0) & (along == 0), 90.0, angles)

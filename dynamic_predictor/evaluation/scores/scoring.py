"""Scores of a predicted scene against the truth of its clip: camera path, depth and motion masks."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.scores.depth import Alignment, DepthProtocol, score_depth
from dynamic_predictor.evaluation.scores.masks import MaskScores, score_masks
from dynamic_predictor.evaluation.scores.poses import PoseScores, score_poses
from dynamic_predictor.evaluation.scores.sizes import depth_at_truth, mask_at_prediction
from scene.errors import InputError
from scene.maps import FrameMaps, LoadedMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: the pixels that are compared in published depth figures of a data set
_DEPTH_PROTOCOLS = {
    "sintel": DepthProtocol(max_depth=70.0, clip_aligned=(None, 70.0)),
    "bonn": DepthProtocol(max_depth=70.0),
    "kitti": DepthProtocol(max_depth=None),
    "nyu": DepthProtocol(max_depth=None),
}


def depth_protocol(dataset: str, alignment: Alignment) -> DepthProtocol:
    """The protocol of published depth figures of a data set; by default, true depth below 80."""
    return replace(_DEPTH_PROTOCOLS.get(dataset, DepthProtocol()), alignment=alignment)


def score_scene_poses(scene: Scene, clip: DatasetClip) -> PoseScores | None:
    """Scores of the camera path; None where the clip has no true cameras."""
    if clip.world_from_cameras is None:
        return None
    return score_poses(poses_of(scene), clip.world_from_cameras)


def poses_of(scene: Scene) -> np.ndarray:
    """The poses world_from_camera (N, 4, 4) of a scene's cameras."""
    return np.array([camera.world_from_camera for camera in scene.cameras])


def score_scene_depth(
    scene: Scene,
    clip: DatasetClip,
    dataset: str,
    alignments: Sequence[Alignment],
    *,
    progress: Progress = ignore_progress,
) -> dict[str, dict[str, Any]] | None:
    """Depth scores of the whole clip, by alignment, at the size of the truth; None where the clip has no true depth.

    Pixels without a prediction are ignored; `coverage` is the share of pixels with true depth that have a prediction.
    """
    if clip.z_depths is None:
        return None
    if scene.z_depths is None:
        raise InputError(f"The scene of {clip.name} has no depth to score; use a predictor that estimates depth.")
    predictions, truths = [], []
    known = covered = 0
    for index in range(len(clip.images)):
        progress("reading depth", index, len(clip.images))
        true = clip.z_depths[index]
        predicted, is_known = depth_at_truth(scene.z_depths[index], true.shape[1], true.shape[0])
        known += int((true > 0).sum())
        true = np.where(is_known, true, np.float32(0))
        covered += int((true > 0).sum())
        predictions.append(predicted)
        truths.append(true)
    predicted, true = np.stack(predictions), np.stack(truths)
    del predictions, truths
    scores: dict[str, dict[str, Any]] = {}
    for done, alignment in enumerate(alignments):
        progress("aligning depth", done, len(alignments))
        depth_scores = score_depth(predicted, true, depth_protocol(dataset, alignment))
        scores[alignment] = {**asdict(depth_scores), "coverage": covered / known if known else float("nan")}
    progress("aligning depth", len(alignments), len(alignments))
    return scores


def score_scene_masks(scene: Scene, clip: DatasetClip, *, progress: Progress = ignore_progress) -> MaskScores | None:
    """Scores of the motion masks (0.5 counts as moving) at the predicted size; None without annotated masks."""
    masks, frames = scene.motion_masks, clip.annotated_frames()
    if not frames:
        return None
    if masks is None:
        raise InputError(f"The scene of {clip.name} has no motion masks to score; use a predictor that estimates them.")
    annotations = annotated_masks(clip, scene.frames.width, scene.frames.height)

    def pairs():
        for done, index in enumerate(frames):
            progress("comparing masks", done, len(frames))
            yield masks[index] >= 0.5, annotations[index] > 0.5
        progress("comparing masks", len(frames), len(frames))

    return score_masks(pairs())


def annotated_masks(clip: DatasetClip, width: int, height: int) -> FrameMaps:
    """Annotated masks at the size of a prediction, float32 with 1 = moving; empty for frames without annotation."""
    annotated = set(clip.annotated_frames())

    def load(index: int) -> np.ndarray:
        if clip.motion_masks is None or index not in annotated:
            return np.zeros((height, width), np.float32)
        return mask_at_prediction(clip.motion_masks[index] > 0.5, width, height).astype(np.float32)

    return LoadedMaps(len(clip.images), load)

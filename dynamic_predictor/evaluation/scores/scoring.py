"""A predicted scene against the truth of its clip: camera path, depth, masks."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.scores.depth import Alignment, DepthProtocol, DepthScores, score_depth
from dynamic_predictor.evaluation.scores.masks import MaskScores, score_masks
from dynamic_predictor.evaluation.scores.poses import PoseScores, score_poses
from dynamic_predictor.evaluation.scores.sizes import depth_at_truth, mask_at_prediction
from scene.errors import InputError
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: which pixels published depth figures of a data set are of
_DEPTH_PROTOCOLS = {
    "sintel": DepthProtocol(max_depth=70.0, clip_aligned=(None, 70.0)),
    "bonn": DepthProtocol(max_depth=70.0),
    "kitti": DepthProtocol(max_depth=None),
    "nyu": DepthProtocol(max_depth=None),
}


def depth_protocol(dataset: str, alignment: Alignment) -> DepthProtocol:
    """What published figures of a data set use, with one of the alignments; else depths up to 80 m."""
    return replace(_DEPTH_PROTOCOLS.get(dataset, DepthProtocol()), alignment=alignment)


def score_scene_poses(scene: Scene, clip: DatasetClip) -> PoseScores | None:
    """None where the clip has no true cameras."""
    if clip.world_from_cameras is None:
        return None
    return score_poses(poses_of(scene), clip.world_from_cameras)


def poses_of(scene: Scene) -> np.ndarray:
    """World_from_camera (N, 4, 4) of a scene's cameras."""
    return np.array([camera.world_from_camera for camera in scene.cameras])


def score_scene_depth(
    scene: Scene,
    clip: DatasetClip,
    dataset: str,
    alignments: Sequence[Alignment],
    *,
    progress: Progress = ignore_progress,
) -> dict[str, dict[str, Any]] | None:
    """Depth figures of the whole clip per alignment, at the truth's size; None where the clip has no true depth.

    Pixels without a prediction are left out; `coverage` is the share of the known pixels that have one.
    """
    if clip.z_depths is None:
        return None
    if scene.z_depths is None:
        raise InputError(f"The scene of {clip.name} has no depth to score; run a predictor that gives depth.")
    predictions, truths = [], []
    known = covered = 0
    for index in range(len(clip.images)):
        progress("reading depth", index, len(clip.images))
        true = clip.z_depths[index]
        predicted, says = depth_at_truth(scene.z_depths[index], true.shape[1], true.shape[0])
        known += int((true > 0).sum())
        true = np.where(says, true, np.float32(0))
        covered += int((true > 0).sum())
        predictions.append(predicted)
        truths.append(true)
    predicted, true = np.stack(predictions), np.stack(truths)
    del predictions, truths
    scores: dict[str, dict[str, Any]] = {}
    for done, alignment in enumerate(alignments):
        progress("aligning depth", done, len(alignments))
        found: DepthScores = score_depth(predicted, true, depth_protocol(dataset, alignment))
        scores[alignment] = {**asdict(found), "coverage": covered / known if known else float("nan")}
    progress("aligning depth", len(alignments), len(alignments))
    return scores


def score_scene_masks(scene: Scene, clip: DatasetClip, *, progress: Progress = ignore_progress) -> MaskScores | None:
    """Motion masks, moving from one half upwards, at the prediction's size; None where the clip has no annotations."""
    masks, annotations = scene.motion_masks, clip.motion_masks
    frames = clip.annotated_frames()
    if annotations is None or not frames:
        return None
    if masks is None:
        raise InputError(f"The scene of {clip.name} has no motion masks to score; run a predictor that finds them.")
    width, height = scene.frames.width, scene.frames.height

    def pairs():
        for done, index in enumerate(frames):
            progress("comparing masks", done, len(frames))
            yield masks[index] >= 0.5, mask_at_prediction(annotations[index] > 0.5, width, height)
        progress("comparing masks", len(frames), len(frames))

    return score_masks(pairs())

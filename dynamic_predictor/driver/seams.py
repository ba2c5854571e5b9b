"""The similarity between two predictions of the same frames, each in a world of its own."""

from dataclasses import replace

import numpy as np

from dynamic_predictor.contract import Prediction
from dynamic_predictor.driver.settings import StreamSettings
from dynamic_predictor.driver.workspace import stacked
from dynamic_predictor.stitching.chunk_alignment import (
    AlignedChunk,
    align_by_cameras,
    align_chunks,
    camera_seam,
    depth_scale,
)
from dynamic_predictor.stitching.official import OFFICIAL, OURS
from scene.camera import Camera
from scene.confidence import odds
from scene.errors import InputError
from scene.similarity import Similarity, align_poses

#: smallest jump of the path between chunks that is corrected: translation relative to the depth, plus radians
_VISIBLE_SEAM = 0.01
#: range of plausible scale ratios of two chunks; outside it, the camera does not move in one of them
_PLAUSIBLE_SCALES = (1e-4, 1e4)


def align_predictions(
    reference: Prediction,
    reference_frames: slice,
    moved: Prediction,
    moved_frames: slice,
    settings: StreamSettings,
    name: str,
) -> tuple[AlignedChunk, str]:
    """Aligns the same frames in two predictions by their points or, where that makes the path jump and alignment by
    the cameras does not, by the cameras and the ratio of the depths. Also returns the name of the method.

    While the camera hardly moves, poses are determined better than depth, so two chunks may differ in depth and
    still agree on the path."""
    if reference.size != moved.size:
        raise InputError(
            f"{name} gave depth of {moved.size[1]}x{moved.size[0]} for one chunk and "
            f"{reference.size[1]}x{reference.size[0]} for another; use a fixed size."
        )
    reference_depth = stacked(reference.z_depth)[reference_frames]
    moved_depth = stacked(moved.z_depth)[moved_frames]
    reference_confidence = static_weights(reference, reference_frames)
    moved_confidence = static_weights(moved, moved_frames)
    poses = reference.poses()[reference_frames], moved.poses()[moved_frames]
    assert reference.intrinsics is not None and moved.intrinsics is not None
    aligned = align_chunks(
        world_points(reference_depth, reference.intrinsics[reference_frames], poses[0]),
        reference_confidence,
        reference_depth,
        world_points(moved_depth, moved.intrinsics[moved_frames], poses[1]),
        moved_confidence,
        moved_depth,
        method=settings.align,
        conventions=OFFICIAL if settings.strict_official else OURS,
    )
    scale = 1.0
    if settings.align != "se3":
        weights = np.sqrt(reference_confidence * moved_confidence)
        scale = depth_scale(reference_depth[..., ::2, ::2], moved_depth[..., ::2, ::2], weights[..., ::2, ::2])
    typical_depth = float(np.median(reference_depth[reference_confidence > 0]))
    by_cameras = align_by_cameras(*poses, scale)
    seams = [camera_seam(found, *poses, typical_depth) for found in (aligned.similarity, by_cameras)]
    if seams[0] > _VISIBLE_SEAM and seams[1] < 0.5 * seams[0]:
        return replace(aligned, similarity=by_cameras), "cameras and depth"
    return aligned, "points"


def align_by_poses(moved: np.ndarray, reference: np.ndarray, *, with_scale: bool) -> Similarity:
    """The similarity from the world of the poses `moved` (n, 4, 4) to that of `reference` by the cameras alone."""
    similarity = align_poses(moved, reference, with_scale=with_scale, use_orientations=True)
    if _PLAUSIBLE_SCALES[0] < similarity.scale < _PLAUSIBLE_SCALES[1]:
        return similarity
    # cameras that stand still in one of the chunks, or move in reverse, do not determine its scale
    return align_poses(moved, reference, with_scale=False, use_orientations=True)


def world_points(z_depth: np.ndarray, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
    """World points (n, H, W, 3) float32 of depth maps (n, H, W)."""
    height, width = z_depth.shape[1:]
    points = np.empty((*z_depth.shape, 3), np.float32)
    for index, (depth, matrix, pose) in enumerate(zip(z_depth, intrinsics, world_from_camera, strict=True)):
        points[index] = Camera.from_intrinsics(width, height, matrix, pose).unproject(depth)
    return points


def static_weights(prediction: Prediction, frames: slice) -> np.ndarray:
    """Weights (n, H, W) by which chunks are aligned: confidences, 0 where something moves or has no depth."""
    known = stacked(prediction.z_depth)[frames] > 0
    confidence = stacked(prediction.confidence)[frames]
    weights = np.where(known, odds(confidence) if prediction.has_network_confidence else confidence, 0.0)
    if prediction.motion is not None:
        weights = weights * (stacked(prediction.motion)[frames] < 0.5)
    return weights.astype(np.float32)

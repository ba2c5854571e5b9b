"""Clips of any length in constant memory: windows that overlap are aligned one after the other, and each is brought
onto the ones before by the similarity between what both say about the frames that they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from dynamic_predictor.das3r.global_alignment.align import align
from dynamic_predictor.das3r.global_alignment.alignment_result import Alignment
from dynamic_predictor.das3r.global_alignment.flow_term import FlowFunction
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.registration import register_cameras
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from dynamic_predictor.driver.chunks import align_chunks, chunk_windows
from scene.camera import Camera
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.similarity import Similarity

#: `predict(first, stop)`: what the network says about pairs of frames first ... stop - 1, numbered from 0
WindowPredictions = Callable[[int, int], PairPredictions]


@dataclass
class LongAlignment:
    """Like `Alignment`, with maps of frames that are kept on disk when they are large."""

    world_from_camera: np.ndarray  #: (N, 4, 4) float64
    intrinsics: np.ndarray  #: (N, 3, 3) float64, pixel centres at +0.5
    z_depths: StoredMaps
    confidences: StoredMaps
    motion_probabilities: StoredMaps | None
    size: tuple[int, int]  #: height, width
    windows: list[tuple[int, int]]
    #: median distance, as a part of the depth, between windows where they overlap
    window_errors: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def cameras(self) -> list[Camera]:
        """A camera for every frame."""
        height, width = self.size
        return [
            Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], pose)
            for k, pose in zip(self.intrinsics, self.world_from_camera, strict=True)
        ]


def align_long_clip(
    frame_count: int,
    predict: WindowPredictions,
    settings: AlignmentSettings | None = None,
    *,
    window: int = 50,
    overlap: int = 10,
    flow: FlowFunction | None = None,
    motion_masks: FrameMaps | None = None,
    images: Sequence[np.ndarray] | None = None,
    intrinsics: np.ndarray | None = None,
    world_from_camera: np.ndarray | None = None,
    progress: Progress = ignore_progress,
) -> LongAlignment:
    """Aligns windows of `window` frames that share `overlap` with the next; other arguments are as for `align`.

    Memory is that of one window. A shared focal length that is not given is that of the first window. In the overlap,
    cameras and depths fade from one window to the next. Raises `InputError` as `align` and `chunk_windows` do.
    """
    settings = settings or AlignmentSettings()
    windows = chunk_windows(frame_count, window, overlap)
    known = None if intrinsics is None else np.broadcast_to(np.asarray(intrinsics, np.float64), (frame_count, 3, 3))
    result: LongAlignment | None = None
    for number, (first, stop) in enumerate(windows):
        part = align(
            predict(first, stop),
            settings,
            flow=None if flow is None else lambda i, j, first=first: flow(first + i, first + j),
            motion_masks=None if motion_masks is None else np.stack([motion_masks[i] for i in range(first, stop)]),
            images=None if images is None else [images[i] for i in range(first, stop)],
            intrinsics=None if known is None else known[first:stop],
            world_from_camera=None if world_from_camera is None else world_from_camera[first:stop],
            progress=progress if len(windows) == 1 else ignore_progress,
        )
        if result is None:
            result = _empty(frame_count, part, windows)
            if known is None and settings.shared_focal:
                known = np.tile(part.intrinsics[0], (frame_count, 1, 1))
            similarity, shared = Similarity(1.0, np.eye(3), np.zeros(3)), 0
        else:
            shared = windows[number - 1][1] - first
            similarity = _onto_earlier(result, part, first, shared, _anchored(world_from_camera, first, stop))
        _add(result, part, similarity, first, shared)
        progress("aligning windows", number + 1, len(windows))
    assert result is not None
    return result


def _empty(frame_count: int, part: Alignment, windows: list[tuple[int, int]]) -> LongAlignment:
    _, height, width = part.z_depth.shape
    has_motion = part.motion_probability is not None
    return LongAlignment(
        world_from_camera=np.tile(np.eye(4), (frame_count, 1, 1)),
        intrinsics=np.tile(np.eye(3), (frame_count, 1, 1)),
        z_depths=StoredMaps(frame_count, height, width, np.float32),
        confidences=StoredMaps(frame_count, height, width, np.float32),
        motion_probabilities=StoredMaps(frame_count, height, width) if has_motion else None,
        size=(height, width),
        windows=windows,
    )


def _anchored(world_from_camera: np.ndarray | None, first: int, stop: int) -> bool:
    """Whether poses that were given tie the window to the world."""
    if world_from_camera is None:
        return False
    return int(np.isfinite(world_from_camera[first:stop]).all(axis=(1, 2)).sum()) > 1


def _onto_earlier(result: LongAlignment, part: Alignment, first: int, shared: int, anchored: bool) -> Similarity:
    """The similarity that takes a window into the world of those before it."""
    frames = range(first, first + shared)
    cameras, depths = result.cameras()[first : first + shared], np.stack([result.z_depths[i] for i in frames])
    reference = np.stack([camera.unproject(depth) for camera, depth in zip(cameras, depths, strict=True)])
    moved = np.stack([part.cameras()[k].unproject(part.z_depth[k]) for k in range(shared)])
    confidences = np.stack([result.confidences[i] for i in frames])
    if anchored:
        return Similarity(1.0, np.eye(3), np.zeros(3))
    try:
        aligned = align_chunks(reference, confidences, depths, moved, part.confidence[:shared], part.z_depth[:shared])
        found, error = aligned.similarity, aligned.relative_error
    except ValueError:
        earlier = result.world_from_camera[first : first + shared]
        found, error = Similarity(*register_cameras(part.world_from_camera[:shared], earlier)), float("nan")
        result.warnings.append(f"Windows share no confident pixels at frame {first}; they are joined by cameras alone.")
    result.window_errors.append(error)
    return found


def _add(result: LongAlignment, part: Alignment, similarity: Similarity, first: int, shared: int) -> None:
    poses = similarity.apply_to_poses(part.world_from_camera)
    for k in range(len(part)):
        frame = first + k
        share = (k + 1.0) / (shared + 1.0) if k < shared else 1.0
        result.world_from_camera[frame] = _between(result.world_from_camera[frame], poses[k], share)
        result.intrinsics[frame] += share * (part.intrinsics[k] - result.intrinsics[frame])
        _fade(result.z_depths, frame, similarity.scale * part.z_depth[k], share)
        _fade(result.confidences, frame, part.confidence[k], share)
        if result.motion_probabilities is not None and part.motion_probability is not None:
            _fade(result.motion_probabilities, frame, part.motion_probability[k], share)
    result.warnings += [f"Frames {first} to {first + len(part) - 1}: {warning}" for warning in part.warnings]


def _between(earlier: np.ndarray, later: np.ndarray, share: float) -> np.ndarray:
    if share == 1.0:
        return later
    pose = later.copy()
    turns = Rotation.from_matrix(np.stack([earlier[:3, :3], later[:3, :3]]))
    pose[:3, :3] = Slerp([0.0, 1.0], turns)(share).as_matrix()
    pose[:3, 3] = (1.0 - share) * earlier[:3, 3] + share * later[:3, 3]
    return pose


def _fade(maps: StoredMaps, frame: int, later: np.ndarray, share: float) -> None:
    maps[frame] = later if share == 1.0 else (1.0 - share) * maps[frame] + share * later

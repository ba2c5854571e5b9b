"""Global alignment of clips of any length in constant memory: overlapping windows are aligned one after the other, and
each is registered to the earlier ones by a similarity between the depth maps of the frames that they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from dynamic_predictor.das3r.global_alignment.align import Alignment, align
from dynamic_predictor.das3r.global_alignment.flow_term import FlowFunction
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.registration import register_cameras
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from dynamic_predictor.stitching.chunk_alignment import align_chunks
from dynamic_predictor.stitching.chunk_windows import chunk_windows
from scene.camera import Camera, cameras_of
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.similarity import Similarity

#: `predict(first, stop)` returns the network's predictions for pairs of the frames first ... stop - 1, which they
#: number from 0
WindowPredictions = Callable[[int, int], PairPredictions]


@dataclass
class LongAlignment:
    """Cameras and maps as in `Alignment`; large maps are kept on disk."""

    world_from_camera: np.ndarray  #: (N, 4, 4) float64
    intrinsics: np.ndarray  #: (N, 3, 3) float64, pixel centers at +0.5
    z_depths: StoredMaps
    confidences: StoredMaps
    motion_probabilities: StoredMaps | None
    size: tuple[int, int]  #: height, width
    windows: list[tuple[int, int]]
    #: median distance between the points of two overlapping windows, relative to their depth
    window_errors: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def cameras(self) -> list[Camera]:
        """The camera of every frame."""
        height, width = self.size
        return cameras_of(width, height, self.intrinsics, self.world_from_camera)


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
    """Aligns windows of `window` frames that share `overlap` frames with the next; the rest is as for `align`.

    Memory is that of one window. If the focal length is shared and not given, the first window determines it. In the
    overlap, cameras and maps are blended. Raises `InputError` as `align` and `chunk_windows` do.
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
            similarity, shared = Similarity.identity(), 0
        else:
            shared = windows[number - 1][1] - first
            similarity = Similarity.identity()
            if not _has_known_world(world_from_camera, first, stop):
                similarity = _register_to_earlier(result, part, first, shared)
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


def _has_known_world(world_from_camera: np.ndarray | None, first: int, stop: int) -> bool:
    """Whether the window has two or more known poses, which fix its world and unit."""
    if world_from_camera is None:
        return False
    return int(np.isfinite(world_from_camera[first:stop]).all(axis=(1, 2)).sum()) > 1


def _register_to_earlier(result: LongAlignment, part: Alignment, first: int, shared: int) -> Similarity:
    """The similarity from the world of a window to that of the earlier ones, with which it shares `shared` frames."""
    frames = range(first, first + shared)
    cameras, depths = result.cameras()[first : first + shared], np.stack([result.z_depths[i] for i in frames])
    reference = np.stack([camera.unproject(depth) for camera, depth in zip(cameras, depths, strict=True)])
    moved = np.stack([part.cameras()[k].unproject(part.z_depth[k]) for k in range(shared)])
    confidences = np.stack([result.confidences[i] for i in frames])
    try:
        aligned = align_chunks(reference, confidences, depths, moved, part.confidence[:shared], part.z_depth[:shared])
        found, error = aligned.similarity, aligned.relative_error
    except ValueError:
        earlier = result.world_from_camera[first : first + shared]
        found, error = register_cameras(part.world_from_camera[:shared], earlier), float("nan")
        result.warnings.append(
            f"The windows that meet at frame {first} share no confident pixels; they are joined by their cameras alone."
        )
    result.window_errors.append(error)
    return found


def _add(result: LongAlignment, part: Alignment, similarity: Similarity, first: int, shared: int) -> None:
    """Writes a window from frame `first` on into the result; its first `shared` frames are blended."""
    poses = similarity.apply_to_poses(part.world_from_camera)
    for k in range(len(part)):
        frame = first + k
        weight = (k + 1.0) / (shared + 1.0) if k < shared else 1.0
        result.world_from_camera[frame] = _interpolated(result.world_from_camera[frame], poses[k], weight)
        result.intrinsics[frame] += weight * (part.intrinsics[k] - result.intrinsics[frame])
        _blend(result.z_depths, frame, similarity.scale * part.z_depth[k], weight)
        _blend(result.confidences, frame, part.confidence[k], weight)
        if result.motion_probabilities is not None and part.motion_probability is not None:
            _blend(result.motion_probabilities, frame, part.motion_probability[k], weight)
    result.warnings += [f"Frames {first} to {first + len(part) - 1}: {warning}" for warning in part.warnings]


def _interpolated(earlier: np.ndarray, later: np.ndarray, weight: float) -> np.ndarray:
    """The pose (4, 4) that is `weight` of the way from `earlier` to `later`."""
    if weight == 1.0:
        return later
    pose = later.copy()
    turns = Rotation.from_matrix(np.stack([earlier[:3, :3], later[:3, :3]]))
    pose[:3, :3] = Slerp([0.0, 1.0], turns)(weight).as_matrix()
    pose[:3, 3] = (1.0 - weight) * earlier[:3, 3] + weight * later[:3, 3]
    return pose


def _blend(maps: StoredMaps, frame: int, later: np.ndarray, weight: float) -> None:
    maps[frame] = later if weight == 1.0 else (1.0 - weight) * maps[frame] + weight * later
